"""Approvals as the texts that a store keeps, and back, each damaged one found out. No store, no clock.

What was asked never changes and may be long, so it is a text of its own; how an approval stands is a short one.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Answer, Asked, Record, State
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


def record_from(id_: object, asked: Asked, one: Stands) -> Record:
    """An approval from its parts. Raises `StoreUnavailable` for what was not written by us."""
    amounts = [entry.reservation.amount for entry in one.entries]
    if not isinstance(id_, str) or not all(0 <= amount < _TOO_MUCH for amount in amounts):
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
