"""Approvals: what became of them, who tried, and who was told."""

from __future__ import annotations

import msgspec

from sidecar.ledger.approvals import Answer, Counts, Record


class ApprovalChanged(msgspec.Struct, frozen=True, gc=False):
    """An approval came into another state, or was asked for: `record` as it is now.

    `by` is the answer that did it; None where a call, the time or the end of an instance did.
    """

    server: str
    record: Record
    by: Answer | None = None


class AnswerSeen(msgspec.Struct, frozen=True, gc=False):
    """An answer that a person gave elsewhere, by the CLI, was found in the store. Who took it has recorded it."""

    server: str
    record: Record
    by: Answer


class ApprovalTried(msgspec.Struct, frozen=True, gc=False):
    """Somebody tried to see or to answer approvals and was refused: `who` as far as known, `status` of HTTP or 0."""

    server: str
    who: str
    via: str
    origin: str
    what: str
    approval: str
    status: int
    why: str


class ApprovalsCounted(msgspec.Struct, frozen=True, gc=False):
    """How many approvals of the server are in each open state; `waits` is how long the oldest pending one does."""

    server: str
    counts: Counts
    waits: float


class NoticeSent(msgspec.Struct, frozen=True, gc=False):
    """A webhook was told of an approval, or could not be: `why` is empty where it took it."""

    server: str
    approval: str
    event: str
    attempts: int
    why: str
    given_up: bool
