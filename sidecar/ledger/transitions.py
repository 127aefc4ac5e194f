"""What may become of an approval: each transition, given the stored approvals as they stand. No store, no clock.

Every store runs these in a transaction, so that nobody sees or uses what they are about to change. A time that is over
counts as over at once, for everybody; that it is noted (`expired`) is the work of the upkeep.

| from                  | to         | when                                                                |
| --------------------- | ---------- | ------------------------------------------------------------------- |
|                       | `pending`  | a call needs a person and has no approval that it could use         |
|                       | `in_use`   | a call fits a standing approval                                     |
| `pending`             | `approved` | as many different people agreed as the rule wants                   |
| `pending`             | `denied`   | one person refused                                                  |
| `pending`             | `in_use`   | the call came again, and fits a standing approval that came between |
| `pending`, `approved` | `expired`  | its time is over                                                    |
| `approved`            | `denied`   | a person took it back before it was used                            |
| `approved`            | `in_use`   | the call came again and took it, together with its limits           |
| `in_use`              | `approved` | the call was certainly not forwarded                                |
| `in_use`              | `consumed` | the server answered, whatever it was                                |
| `in_use`              | `unknown`  | no answer came, or the instance that had it is gone                 |
| `unknown`             | `consumed` | a person said what happened, or the answer came after all           |
"""

from __future__ import annotations

import secrets
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from sidecar.ledger.approvals import (
    FINAL,
    KEPT,
    KEPT_LONG,
    LOST_AFTER,
    MAX_LONG,
    MAX_LONG_EACH,
    MAX_PENDING,
    MAX_PENDING_EACH,
    Answer,
    Asked,
    Conflict,
    Grant,
    GrantTerms,
    NoApproval,
    QueueFull,
    Record,
    SameCall,
    Settlement,
    State,
    Unapproved,
    Wants,
    is_long,
)
from sidecar.ledger.values import Entry

Event = Literal["pending", "decided", "expired"]


class Waiting(NamedTuple):
    """How many approvals wait for a person: those of one holder and of all, and the long ones among them."""

    own: int
    everybody: int
    own_long: int
    long: int


class Records(Protocol):
    """The stored approvals in one transaction. All of them raise `StoreUnavailable` for one that is damaged."""

    @property
    def now(self) -> float:
        """Unix seconds; never less than any other user of the store has seen, whatever its clock says."""

    def get(self, id: str) -> Record | None:  # noqa: A002 - the field's word
        """The approval with this id."""

    def of_binding(self, binding: str) -> Record | None:
        """The newest approval that is bound to exactly this call, and is not the use of a standing one."""

    def unfinished(self, server: str, call: str) -> Sequence[Record]:
        """The approvals on which this very call runs now (`in_use`), or may have run (`unknown`), whoever asked."""

    def grant(self, id: str) -> Grant | None:  # noqa: A002
        """The standing approval with this id."""

    def grants(self, server: str, tool: str, holder: str, rules: str) -> Sequence[Grant]:
        """The standing approvals for such calls, the oldest first."""

    def pending(self, holder: str) -> Waiting:
        """How many approvals wait for a person; not those whose time is over."""

    def heard_of(self, instance: str) -> float | None:
        """When an instance last said that it lives."""

    def put(self, record: Record, tell: Event | None = None) -> None:
        """Write an approval; with `tell` a webhook will hear of it, where its policy names one."""

    def put_grant(self, grant: Grant) -> None:
        """Write a standing approval."""


class Settled(msgspec.Struct, frozen=True):
    """What became of an approval, and the entries that the store gives back in the same transaction."""

    record: Record
    back: tuple[Entry, ...] = ()


class Use(msgspec.Struct, frozen=True):
    """An approval that a call can use: `record` as it will be, and the standing approval that it is a use of."""

    record: Record
    grant: Grant | None = None

    def put(self, entries: tuple[Entry, ...], records: Records) -> Record:
        """Take it into use, together with what the call took from its limits; gives what was written."""
        record = replace(self.record, entries=entries)
        records.put(record)
        if self.grant is not None:
            records.put_grant(replace(self.grant, left=self.grant.left - 1))
        return record


def state_at(record: Record, now: float) -> State:
    """The state that an approval counts as: what is over has expired, noted or not."""
    if record.state in ("pending", "approved") and now >= record.expires:
        return "expired"
    return record.state


def seen_at(record: Record, now: float) -> Record:
    """An approval as people see it, in the state that it counts as."""
    return record if state_at(record, now) == record.state else replace(record, state="expired", changed=record.expires)


def take(wants: Wants, records: Records) -> Use | Unapproved | QueueFull | None:
    """What a call can use. Where there is nothing, a person is asked: that is written.

    None where the call needs nothing: the same call does not run, and has not run with an outcome that nobody knows.
    """
    runs = _unfinished(wants, records)
    if runs is not None and (runs.state == "unknown" or isinstance(wants, SameCall)):
        return Unapproved(runs)
    if isinstance(wants, SameCall):
        return None
    now = records.now
    record = records.of_binding(wants.binding)
    if record is not None and not _is_same(record.asked.definition, wants.definition):
        record = None
    state = state_at(record, now) if record is not None else None
    if record is not None and state == "approved":
        after = replace(record, state="in_use", changed=now, owner=wants.owner, uses=record.uses + 1)
        return Use(after) if runs is None else Unapproved(runs)
    # A no holds for as long as the question would have stood: else asking again is all that it takes.
    if record is not None and state == "denied" and now < record.changed + record.asked.timeout:
        return Unapproved(record)
    waits = record if state == "pending" else None
    if (grant := _grant_for(wants, records, now)) is not None:
        return _use_of(grant, wants, waits, now) if runs is None else Unapproved(runs)
    if record is not None and state == "in_use":
        return Unapproved(record)
    if waits is not None:
        asked_again = replace(waits, asked_times=waits.asked_times + 1)
        records.put(asked_again)
        return Unapproved(asked_again)
    return _ask(wants, records, now)


def decide(id: str, answer: Answer, records: Records) -> tuple[Record, bool]:  # noqa: A002
    """Take a person's answer: see `Approvals.decide`."""
    if answer.verdict not in ("approve", "deny"):
        raise ValueError(f"{answer.verdict} is no answer to a call that waits")
    record, now = _known(id, records), records.now
    state = state_at(record, now)
    if (
        _said(answer, record)
        and state not in ("expired", "unknown")
        and (state == "denied") == (answer.verdict == "deny")
    ):
        return record, False
    if state != "pending":
        raise Conflict(seen_at(record, now), "it expired" if state == "expired" else f"it is {worded(record)} already")
    answers = (*record.answers, replace(answer, at=now))
    if answer.verdict == "deny":
        after = replace(record, state="denied", changed=now, answers=answers)
        records.put(after, "decided")
        return after, True
    if (why := _may_not_approve(answer, record)) is not None:
        raise Conflict(record, why)
    after = replace(record, answers=answers)
    if len(answers) < record.asked.approvers:
        records.put(after)
        return after, True
    after = replace(after, state="approved", changed=now, expires=now + record.asked.use_within)
    records.put(after, "decided")
    # Calls like it only where everybody whose word the call needs agreed to them.
    terms = record.asked.grant
    if terms is not None and all(one.grant for one in answers):
        records.put_grant(_granted(after, terms, now))
    return after, True


def resolve(id: str, answer: Answer, records: Records) -> Settled:  # noqa: A002
    """Take a person's word on what became of an unknown call: see `Approvals.resolve`."""
    if answer.verdict not in ("committed", "failed"):
        raise ValueError(f"{answer.verdict} does not say what became of a call")
    record, now = _known(id, records), records.now
    if record.state != "unknown":
        raise Conflict(record, f"it is {worded(record)}, and only what is unknown can be resolved")
    if record.asked.four_eyes and _is_person(answer.by, record.asked.shown.asker):
        raise Conflict(record, "who asked cannot say what became of it: the policy says four_eyes")
    after = replace(
        record, state="consumed", changed=now, entries=(), answers=(*record.answers, replace(answer, at=now))
    )
    records.put(after)
    if answer.verdict == "committed":
        return Settled(after)
    _give_place_back(record, records)
    return Settled(after, record.entries)


def revoke(id: str, answer: Answer, records: Records) -> Record:  # noqa: A002
    """Take back an approval that was not used, and the standing one that was given with it."""
    record, now = _known(id, records), records.now
    answer = replace(answer, at=now)
    grant = records.grant(id)
    # One with no calls left, too: a call that did not run could give it one back.
    standing = grant is not None and not grant.revoked and now < grant.until
    unused = state_at(record, now) == "approved"
    if not standing and not unused:
        seen = seen_at(record, now)
        raise Conflict(seen, f"it is {worded(seen)}, and nothing of it can be used any more")
    if grant is not None and standing:
        records.put_grant(replace(grant, revoked=True, answers=(*grant.answers, answer)))
    answers = (*record.answers, answer)
    after = (
        replace(record, state="denied", changed=now, answers=answers) if unused else replace(record, answers=answers)
    )
    records.put(after, "decided" if unused else None)
    return after


def settle(
    id: str, how: Settlement, entries: tuple[Entry, ...], records: Records, use: int | None = None,  # noqa: A002
) -> Settled:  # fmt: skip
    """The use of an approval ended, and gives `entries` back: see `Approvals.settle`."""
    record, now = _known(id, records), records.now
    if record.state not in ("in_use", "unknown") or use not in (None, record.uses):
        return Settled(record)  # told already, or a person was quicker: what it took is given back or spent by then
    if how == "unknown":
        if record.state == "unknown":
            return Settled(record)
        after = replace(record, state="unknown", changed=now)
        records.put(after)
        return Settled(after)
    if how == "released" and record.state == "in_use" and not record.grant:
        after = replace(record, state="approved", changed=now, entries=(), owner="")
        records.put(after)
        return Settled(after, entries)
    after = replace(record, state="consumed", changed=now, entries=())
    records.put(after)
    if how in ("not_run", "released"):
        _give_place_back(record, records)
    return Settled(after, entries)


def over(record: Record, records: Records) -> Record | None:
    """What an approval becomes by itself now, which is written; None where it stays as it is."""
    now = records.now
    if state_at(record, now) != record.state:
        after = replace(record, state="expired", changed=now)
        records.put(after, "expired")
        return after
    if record.state == "in_use" and now >= _last_word(record, records) + LOST_AFTER:
        return settle(record.id, "unknown", (), records).record
    return None


def is_old(record: Record, records: Records) -> bool:
    """True for one that nobody needs any more: it was final for long, and no standing approval came of it."""
    if record.state not in FINAL or records.now < kept_until(record):
        return False
    grant = records.grant(record.id)
    return grant is None or records.now >= grant.until


def kept_until(record: Record) -> float:
    """Until when one that is final now is kept (Unix seconds)."""
    unanswered = record.state == "expired" and not record.answers
    return record.changed + (KEPT_LONG if unanswered and is_long(record.asked.shown) else KEPT)


def can_be_used(grant: Grant, now: float) -> bool:
    """True where a call that fits could use a standing approval."""
    return not grant.revoked and grant.left > 0 and now < grant.until


def worded(record: Record) -> str:
    """The state of an approval in words."""
    return record.state.replace("_", " ")


def _known(id_: str, records: Records) -> Record:
    record = records.get(id_)
    if record is None:
        raise NoApproval
    return record


def _is_same(definition: str, other: str) -> bool:
    """False where the tool's definition changed between the two; nobody can tell where its list was not seen."""
    return not definition or not other or definition == other


def _unfinished(wants: Wants, records: Records) -> Record | None:
    """An approval on which this very call runs, or may have run; one of which nobody knows, if there is one.

    What is in use stands in the way, too, whoever has it: nobody can tell that its instance was killed just now, or
    that its agent lost the connection and repeats what still runs. Only to ask a person is possible meanwhile.
    """
    found = [over(record, records) or record for record in records.unfinished(wants.server, wants.call)]
    return next((one for one in found if one.state == "unknown"), found[0] if found else None)


def _last_word(record: Record, records: Records) -> float:
    """When the instance that has an approval in use last gave a sign of life."""
    return max(record.changed, records.heard_of(record.owner) or 0.0)


def _said(answer: Answer, record: Record) -> bool:
    """True where this person said this already."""
    return any(
        _is_person(one.by, answer.by) and (one.verdict, one.grant) == (answer.verdict, answer.grant)
        for one in record.answers
    )


def _may_not_approve(answer: Answer, record: Record) -> str | None:
    """Why this person may not approve this call; None where nothing speaks against it."""
    asked = record.asked
    if not answer.by and (asked.four_eyes or asked.approvers > 1):
        return "the policy wants to know who approves it: give a name"
    if any(_is_person(one.by, answer.by) for one in record.answers):
        return f"{answer.by} answered already"
    if asked.four_eyes and _is_person(answer.by, asked.shown.asker):
        return "who asked cannot approve it: the policy says four_eyes"
    if answer.grant and asked.grant is None:
        return "the rule grants no calls like this one, only this call"
    return None


def _is_person(one: str, other: str) -> bool:
    """True where two names may be one person's: who writes `Alice` for `alice` is no second pair of eyes."""
    return _folded(one) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def _ask(wants: Asked, records: Records, now: float) -> Unapproved | QueueFull:
    waiting, long = records.pending(wants.holder), is_long(wants.shown)
    own = waiting.own >= MAX_PENDING_EACH or (long and waiting.own_long >= MAX_LONG_EACH)
    if own or waiting.everybody >= MAX_PENDING or (long and waiting.long >= MAX_LONG):
        return QueueFull(own)
    record = Record(new_id("apr"), wants, "pending", now, now, now + wants.timeout)
    records.put(record, "pending")
    return Unapproved(record, is_new=True)


def _grant_for(wants: Asked, records: Records, now: float) -> Grant | None:
    """The standing approval that a call fits."""
    if wants.grant is None:
        return None
    for grant in records.grants(wants.server, wants.tool, wants.holder, wants.rules):
        if can_be_used(grant, now) and _is_same(grant.definition, wants.definition) and _fits(grant.terms, wants.grant):
            return grant
    return None


def _fits(granted: GrantTerms, call: GrantTerms) -> bool:
    """True where a call's values are those that were agreed to, and no number is greater."""
    if (granted.same, granted.beside) != (call.same, call.beside):
        return False
    if [path for path, _ in granted.at_most] != [path for path, _ in call.at_most]:
        return False
    return all(_is_at_most(now, most) for (_, most), (_, now) in zip(granted.at_most, call.at_most, strict=True))


def _is_at_most(now: str | None, most: str | None) -> bool:
    """True for a number that is not greater. What is below zero may do the opposite, so that is agreed to as it is."""
    if now is None or most is None:
        return False
    return now == most or 0 <= Decimal(now) <= Decimal(most)


def _use_of(grant: Grant, wants: Asked, waits: Record | None, now: float) -> Use:
    """A use of a standing approval. Nobody has to answer a question (`waits`) any more that it settles."""
    if waits is not None:
        return Use(replace(waits, state="in_use", changed=now, grant=grant.id, owner=wants.owner, uses=1), grant)
    record = Record(new_id("apr"), wants, "in_use", now, now, now, grant=grant.id, owner=wants.owner, uses=1)
    return Use(record, grant)


def _granted(record: Record, terms: GrantTerms, now: float) -> Grant:
    """The standing approval that was given; the call that was approved with it is the first of its calls."""
    asked = record.asked
    return Grant(
        record.id, asked.server, asked.tool, asked.definition, asked.holder, asked.rules, terms, now,
        now + terms.seconds, terms.calls - 1, record.answers,
    )  # fmt: skip


def _give_place_back(record: Record, records: Records) -> None:
    """A call that certainly did not run is none of those that a standing approval allows."""
    if (grant := records.grant(record.grant or record.id)) is not None:
        records.put_grant(replace(grant, left=grant.left + 1))


def new_id(kind: str) -> str:
    """An id that nobody guesses, short enough to be typed."""
    return f"{kind}_{secrets.token_hex(10)}"
