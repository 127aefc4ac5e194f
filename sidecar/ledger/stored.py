"""Approvals as the texts that a store keeps, and back, each damaged one found out. No store, no clock.

What was asked never changes and may be long, so it is a text of its own; how an approval stands is a short one. Where
the arguments are very long, they are a third one, which lists leave out: an agent may ask with megabytes, many times.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, TypeVar

import msgspec
from msgspec.structs import replace

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Answer, Asked, Record, State, is_long
from sidecar.ledger.values import MAX_TEXT, Entry

_TOO_MUCH: Final = 10**MAX_TEXT
"""No amount is as great."""

_Type = TypeVar("_Type")


class Stands(msgspec.Struct, frozen=True):
    """All of an approval that changes."""

    state: State
    created: float
    changed: float
    expires: float
    asked_times: int
    answers: tuple[Answer, ...]
    entries: tuple[Entry, ...]
    grant: str
    owner: str
    uses: int


class Long(msgspec.Struct, frozen=True):
    """What is long of what was asked."""

    arguments: str
    other: str


def texts_of(asked: Asked) -> tuple[str, str | None]:
    """The text of what was asked, and that of what is long of it and stands apart, if anything does."""
    shown = asked.shown
    if not is_long(shown):
        return text_of(asked), None
    brief = replace(asked, shown=replace(shown, arguments="", other=""))
    return text_of(brief), text_of(Long(shown.arguments, shown.other))


def asked_from(text: object, long: object) -> Asked:
    """What was asked, from both texts; brief without the second. Raises `StoreUnavailable`."""
    asked = value_of(text, Asked)
    if long is None:
        return asked
    apart = value_of(long, Long)
    return replace(asked, shown=replace(asked.shown, arguments=apart.arguments, other=apart.other))


def record_from(id_: object, asked: Asked, one: Stands) -> Record:
    """An approval from its parts. Raises `StoreUnavailable` for what was not written by us."""
    amounts = [Decimal(entry.reservation.amount) for entry in one.entries]
    if not isinstance(id_, str) or not all(amount.is_finite() and 0 <= amount < _TOO_MUCH for amount in amounts):
        raise damaged()
    return Record(
        id_, asked, one.state, one.created, one.changed, one.expires, one.asked_times, one.answers, one.entries,
        one.grant, one.owner, one.uses,
    )  # fmt: skip


def stands_of(record: Record) -> Stands:
    """How an approval stands."""
    return Stands(
        record.state, record.created, record.changed, record.expires, record.asked_times, record.answers,
        record.entries, record.grant, record.owner, record.uses,
    )  # fmt: skip


def text_of(value: object) -> str:
    """The text that is stored."""
    return msgspec.json.encode(value).decode()


def value_of(text: object, kind: type[_Type]) -> _Type:
    """The value of a stored text. Raises `StoreUnavailable` for what was not written by us."""
    if not isinstance(text, str | bytes):
        raise damaged()
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError:
        raise damaged() from None


def damaged() -> StoreUnavailable:
    """An error for what was not written by us."""
    return StoreUnavailable("the store holds an approval that is not as we wrote it")
