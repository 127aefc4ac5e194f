"""What may become of an approval: each transition, given the stored approvals as they stand. No store, no clock.

Every store runs these in a transaction, so that nobody sees or uses what they are about to change. A time that is over
counts as over at once, for everybody; that it is noted (`expired`) is the work of the upkeep.

| from          | to         | when                                                                        |
| ------------- | ---------- | --------------------------------------------------------------------------- |
|               | `pending`  | a call needs a person and has no approval that it could use                 |
| `pending`     | `approved` | as many different people agreed as the rule wants                           |
| `pending`     | `denied`   | one person refused                                                          |
| `pending`, `approved` | `expired` | its time is over                                                     |
| `approved`    | `denied`   | a person took it back before it was used                                    |
| `approved`    | `in_use`   | the call came again and took it, together with its limits                   |
| `in_use`      | `approved` | the call was certainly not forwarded                                        |
| `in_use`      | `consumed` | the server answered, whatever it was                                        |
| `in_use`      | `unknown`  | no answer came, or the instance that had it is gone                         |
| `unknown`     | `consumed` | a person said what happened, or the answer came after all                   |
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, Protocol

import msgspec
from msgspec.structs import replace

from sidecar.ledger.approvals import (
    KEPT,
    LOST_AFTER,
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
    Unapproved,
    Wants,
)
from sidecar.ledger.values import Entry

Event = Literal["pending", "decided", "expired"]


class Records(Protocol):
    """The stored approvals in one transaction. All of them raise `StoreUnavailable` for one that is damaged."""

    @property
    def now(self) -> float:
        """Unix seconds; never less than any other user of the store has seen, whatever its clock says."""

    def get(self, id: str) -> Record | None:  # noqa: A002 - the field's word
        """The approval with this id."""

    def of_binding(self, binding: str) -> Record | None:
        """The newest approval that is bound to exactly this call, and is not the use of a standing one."""

    def unknown(self, server: str, call: str) -> Record | None:
        """An approval of which nobody knows whether this very call ran."""

    def grant(self, id: str) -> Grant | None:  # noqa: A002
        """The standing approval with this id."""

    def grants(self, server: str, tool: str, holder: str, rules: str) -> Sequence[Grant]:
        """The standing approvals for such calls, the oldest first."""

    def pending(self, holder: str) -> tuple[int, int]:
        """How many approvals of a holder wait for a person, and how many of all."""

    def heard_of(self, instance: str) -> float | None:
        """When an instance last said that it lives."""

    def put(self, record: Record, tell: Event | None = None) -> None:
        """Write an approval; with `tell` a webhook will hear of it, where its policy names one."""

    def put_grant(self, grant: Grant) -> None:
        """Write a standing approval."""


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


def take(wants: Wants, records: Records) -> Use | Unapproved | QueueFull | None:
    """What a call can use. Where there is nothing, a person is asked: that is written.

    None where the call needs nothing: it is the same as none whose outcome is unknown.
    """
    if (unknown := records.unknown(wants.server, wants.call)) is not None:
        return Unapproved(unknown)
    if isinstance(wants, SameCall):
        return None
    now = records.now
    record = records.of_binding(wants.binding)
    if record is not None and _is_same(record.asked.definition, wants.definition):
        match record.state:
            case "approved" if now < record.expires:
                return Use(replace(record, state="in_use", changed=now, owner=wants.owner))
            case "in_use":
                return Unapproved(record)
            case "denied" if now < record.created + record.asked.timeout:
                return Unapproved(record)
            case "pending" if now < record.expires:
                asked_again = replace(record, asked_times=record.asked_times + 1)
                if (grant := _grant_for(wants, records)) is not None:
                    return _use_of(grant, wants, now)
                records.put(asked_again)
                return Unapproved(asked_again)
    if (grant := _grant_for(wants, records)) is not None:
        return _use_of(grant, wants, now)
    return _ask(wants, records, now)


def decide(id: str, answer: Answer, records: Records) -> tuple[Record, bool]:  # noqa: A002
    """Take a person's answer: see `Approvals.decide`."""
    record, now = _known(id, records), records.now
    if any((one.by, one.verdict, one.grant) == (answer.by, answer.verdict, answer.grant) for one in record.answers):
        return record, False
    if record.state != "pending":
        raise Conflict(record, f"it is {worded(record)} already")
    if now >= record.expires:
        raise Conflict(record, "it expired")
    if answer.verdict == "approve" and any(one.by == answer.by for one in record.answers):
        raise Conflict(record, f"{answer.by} answered already")
    if record.asked.four_eyes and answer.by and answer.by == record.asked.shown.asker:
        raise Conflict(record, "who asked cannot approve it: the policy says four_eyes")
    if answer.grant and record.asked.grant is None:
        raise Conflict(record, "the rule grants no calls like this one, only this call")
    answers = (*record.answers, replace(answer, at=now))
    if answer.verdict == "deny":
        after = replace(record, state="denied", changed=now, answers=answers)
        records.put(after, "decided")
        return after, True
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


def resolve(id: str, answer: Answer, records: Records) -> Record:  # noqa: A002
    """Take a person's word on what became of an unknown call. What it took is given back by whoever asks this."""
    record, now = _known(id, records), records.now
    if record.state != "unknown":
        raise Conflict(record, f"it is {worded(record)}, and only what is unknown can be resolved")
    after = replace(
        record, state="consumed", changed=now, entries=(), answers=(*record.answers, replace(answer, at=now))
    )
    records.put(after)
    return after


def revoke(id: str, answer: Answer, records: Records) -> Record:  # noqa: A002
    """Take back an approval that was not used, and the standing one that was given with it."""
    record, now = _known(id, records), records.now
    answer = replace(answer, at=now)
    grant = records.grant(id)
    standing = grant is not None and not grant.revoked and grant.left > 0 and now < grant.until
    unused = record.state == "approved" and now < record.expires
    if not standing and not unused:
        raise Conflict(record, f"it is {worded(record)}, and nothing of it can be used any more")
    if grant is not None and standing:
        records.put_grant(replace(grant, revoked=True, answers=(*grant.answers, answer)))
    answers = (*record.answers, answer)
    after = (
        replace(record, state="denied", changed=now, answers=answers) if unused else replace(record, answers=answers)
    )
    records.put(after, "decided" if unused else None)
    return after


def settle(id: str, how: Settlement, records: Records) -> Record:  # noqa: A002
    """The use of an approval ended."""
    record, now = _known(id, records), records.now
    if record.state not in ("in_use", "unknown"):
        return record  # a person was quicker
    if how == "unknown":
        if record.state == "unknown":
            return record
        after = replace(record, state="unknown", changed=now)
    elif how == "released" and record.state == "in_use" and not record.grant:
        after = replace(record, state="approved", changed=now, entries=(), owner="")
    else:
        after = replace(record, state="consumed", changed=now, entries=())
    records.put(after)
    if how in ("not_run", "released") and record.grant and (grant := records.grant(record.grant)) is not None:
        records.put_grant(replace(grant, left=min(grant.left + 1, grant.terms.calls)))
    return after


def over(record: Record, records: Records) -> Record | None:
    """What an approval becomes by itself now, which is written; None where it stays as it is."""
    now = records.now
    if record.state in ("pending", "approved") and now >= record.expires:
        after = replace(record, state="expired", changed=now)
        records.put(after, "expired")
        return after
    if record.state == "in_use":
        heard = records.heard_of(record.owner)
        if heard is None or now >= heard + LOST_AFTER:
            return settle(record.id, "unknown", records)
    return None


def is_old(record: Record, now: float) -> bool:
    """True for one that nobody needs any more."""
    return record.state in ("denied", "expired", "consumed") and now >= record.changed + KEPT


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


def _ask(wants: Asked, records: Records, now: float) -> Unapproved | QueueFull:
    own, everybody = records.pending(wants.holder)
    if own >= MAX_PENDING_EACH or everybody >= MAX_PENDING:
        return QueueFull(own >= MAX_PENDING_EACH)
    record = Record(_new_id(), wants, "pending", now, now, now + wants.timeout)
    records.put(record, "pending")
    return Unapproved(record, is_new=True)


def _grant_for(wants: Asked, records: Records) -> Grant | None:
    """The standing approval that a call fits."""
    if wants.grant is None:
        return None
    for grant in records.grants(wants.server, wants.tool, wants.holder, wants.rules):
        stands = not grant.revoked and grant.left > 0 and records.now < grant.until
        if stands and _is_same(grant.definition, wants.definition) and _fits(grant.terms, wants.grant):
            return grant
    return None


def _fits(granted: GrantTerms, call: GrantTerms) -> bool:
    """True where a call's values are those that were agreed to, and no number is greater."""
    if granted.same != call.same or [path for path, _ in granted.at_most] != [path for path, _ in call.at_most]:
        return False
    numbers = zip(granted.at_most, call.at_most, strict=True)
    return all(
        most is not None and now is not None and Decimal(now) <= Decimal(most) for (_, most), (_, now) in numbers
    )


def _use_of(grant: Grant, wants: Asked, now: float) -> Use:
    record = Record(_new_id(), wants, "in_use", now, now, now, grant=grant.id, owner=wants.owner)
    return Use(record, grant)


def _granted(record: Record, terms: GrantTerms, now: float) -> Grant:
    asked = record.asked
    return Grant(
        record.id, asked.server, asked.tool, asked.definition, asked.holder, asked.rules, terms, now,
        now + terms.seconds, terms.calls, record.answers,
    )  # fmt: skip


def _new_id() -> str:
    """An id that nobody guesses, short enough to be typed."""
    return f"apr_{secrets.token_hex(10)}"
