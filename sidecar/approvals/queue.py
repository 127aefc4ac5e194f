"""What an approver can see and do: the approvals in the store, as far as they are his. No HTTP.

Whoever is not allowed to answer a call does not learn that it exists. Every change is an event, and every try that was
refused is one too.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from sidecar.approvals.approvers import Approver
from sidecar.approvals.document import After, digest_of, limits_after
from sidecar.approvals.watch import Watch
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, ApprovalTried, Emit
from sidecar.ledger.approvals import MAX_PENDING, OPEN, STATES, Answer, Conflict, Grant, NoApproval, Record, State
from sidecar.ledger.protocol import Ledger

LISTED: Final = 1_000
"""The most approvals that one list has."""
MAX_REASON: Final = 1_000
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Person:
    """An approver, the way by which he came, and the address that he came from."""

    approver: Approver
    via: Literal["api", "page"]
    origin: str


class Full(msgspec.Struct, frozen=True):
    """An approval, and where the limits of its call would stand after it; empty once they are taken."""

    record: Record
    after: tuple[After, ...]


class NotTheirs(Conflict):
    """This person may not give this answer, though others may."""


class Queue:
    """The approvals of all servers in a store. Raises `StoreUnavailable` when it cannot be used.

    `server` is ours: events name it where no other is known.
    """

    def __init__(self, ledger: Ledger, server: str, emit: Emit, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._ledger = ledger
        self._approvals = ledger.approvals
        self._server = server
        self._emit = emit
        self._watch = Watch(ledger.approvals)
        self._doing: set[asyncio.Task[Record]] = set()

    async def visible(
        self, person: Person, states: Collection[State] = STATES, *, server: str = "", limit: int = LISTED
    ) -> list[Record]:
        """What the person may see in these states, the newest first; of one server, or of all.

        Very long arguments are left out (`Approvals.records`): `show` has them.
        """
        approver = person.approver
        may = approver.may_answer
        # Whoever may answer some calls only must find his among all that there can be.
        most = LISTED if approver.answers_all else MAX_PENDING
        found = await self._approvals.records(states, server=server, limit=most, brief=True)
        return [one for one in found if may(one.asked.server, one.asked.tool)][:limit]

    async def show(self, person: Person, id: str) -> Full:  # noqa: A002 - the field's word
        """One approval. Raises `NoApproval`, also for one that the person may not see."""
        record = await self._find(person, id, "show")
        open_ = record.state in ("pending", "approved")
        return Full(record, await limits_after(record, self._ledger) if open_ else ())

    async def grants(self, person: Person) -> list[Grant]:
        """The standing approvals that the person may see, the newest first."""
        may = person.approver.may_answer
        return [one for one in await self._approvals.grants() if may(one.server, one.tool)]

    async def answer(
        self,
        person: Person,
        id: str,  # noqa: A002
        verdict: Literal["approve", "deny"],
        *,
        shown: str,
        reason: str = "",
        grant: bool = False,
    ) -> Record:
        """Approve or deny a call that waits: the approval after it. The same answer once more changes nothing.

        `shown` is the digest of what the person saw; nothing is approved without it. `grant` where calls like this one
        are approved too. Raises `NoApproval`, and `Conflict` with a text for the person.
        """
        record = await self._find(person, id, verdict)
        if (shown or verdict == "approve") and shown != digest_of(record.asked):
            why = "what was shown to you is not what this approval is about: look at it again, and answer then"
            raise self._refused(person, verdict, Conflict(record, why))
        if verdict == "approve":
            self._four_eyes(person, record, verdict)
        answer = self._said(person, verdict, reason, grant=grant, shown=shown)
        return await self._do(person, verdict, record, answer, self._approvals.decide(id, answer))

    async def resolve(
        self,
        person: Person,
        id: str,  # noqa: A002
        verdict: Literal["committed", "failed"],
        *,
        reason: str = "",
    ) -> Record:
        """Say what became of a call of which nobody knows. Raises `NoApproval` and `Conflict`."""
        record = await self._find(person, id, "resolve")
        self._four_eyes(person, record, "resolve")
        if _said_already(record, person, verdict):
            return record
        answer = self._said(person, verdict, reason)
        return await self._do(person, "resolve", record, answer, self._resolved(id, answer))

    async def revoke(self, person: Person, id: str, *, reason: str = "") -> Record:  # noqa: A002
        """Take back what was approved and not used, and the standing approval. Raises `NoApproval` and `Conflict`."""
        record = await self._find(person, id, "revoke")
        if _said_already(record, person, "revoke"):
            return record
        answer = self._said(person, "revoke", reason)
        return await self._do(person, "revoke", record, answer, self._revoked(id, answer))

    async def changed(self, since: str, seconds: float) -> str:
        """Wait until something is another than it was at the mark `since`, for so many seconds: the mark of now.

        Begin with an empty mark, which is never that of now. However many wait, the store is looked at twice a second.
        """
        return await self._watch.changed(since, seconds)

    async def news(self, person: Person) -> str:
        """A text that differs when anything that is not over has changed that the person may see."""
        records, grants = await self.visible(person, OPEN, limit=MAX_PENDING), await self.grants(person)
        seen = [(one.id, one.state, one.changed, one.asked_times, len(one.answers)) for one in records]
        return hashlib.sha256(msgspec.json.encode((seen, [(one.id, one.left) for one in grants]))).hexdigest()

    def tried(self, person: Person, what: str, status: int, why: str, approval: str = "") -> None:
        """Tell that a try was refused."""
        self.told(person.approver.name, person.via, person.origin, what, status, why, approval)

    def told(self, who: str, via: str, origin: str, what: str, status: int, why: str, approval: str = "") -> None:
        """Tell that a try of somebody was refused; `who` is empty where nobody knows."""
        self._emit(ApprovalTried(self._server, who, via, origin, what, approval, status, why))

    async def _find(self, person: Person, id_: str, what: str) -> Record:
        try:
            record = await self._approvals.find(id_)
            if not person.approver.may_answer(record.asked.server, record.asked.tool):
                raise NoApproval
        except NoApproval:
            self.tried(person, what, 404, "there is no such approval for this approver", id_)
            raise
        return record

    async def _do(
        self,
        person: Person,
        what: str,
        record: Record,
        answer: Answer,
        change: Coroutine[Any, Any, tuple[Record, bool]],
    ) -> Record:
        """Change an approval in the store and tell of it, both or, where it is refused, neither."""

        async def do() -> Record:
            try:
                after, changed = await change
            except Conflict as conflict:
                raise self._refused(person, what, conflict) from None
            except StoreUnavailable:
                self.tried(person, what, 503, "the store of approvals cannot be used", record.id)
                raise
            if changed:
                self._emit(ApprovalChanged(record.asked.server, after, answer))
            return after

        # Whoever asked may go away meanwhile: what is changed is told of all the same.
        doing = asyncio.get_running_loop().create_task(do())
        self._doing.add(doing)
        doing.add_done_callback(self._done)
        return await asyncio.shield(doing)

    def _done(self, doing: asyncio.Task[Record]) -> None:
        self._doing.discard(doing)
        if not doing.cancelled():
            doing.exception()  # whoever waits gets it; if nobody does any more, it was told of

    async def _resolved(self, id_: str, answer: Answer) -> tuple[Record, bool]:
        return await self._approvals.resolve(id_, answer), True

    async def _revoked(self, id_: str, answer: Answer) -> tuple[Record, bool]:
        return await self._approvals.revoke(id_, answer), True

    def _four_eyes(self, person: Person, record: Record, what: str) -> None:
        if record.asked.four_eyes and person.approver.asked_for(record.asked):
            why = "who asked cannot answer it: the policy says four_eyes, so somebody else has to"
            raise self._refused(person, what, NotTheirs(record, why))

    def _refused(self, person: Person, what: str, conflict: Conflict) -> Conflict:
        status = 403 if isinstance(conflict, NotTheirs) else 409
        record = conflict.record
        self._emit(
            ApprovalTried(
                record.asked.server, person.approver.name, person.via, person.origin, what, record.id, status,
                str(conflict),
            )
        )  # fmt: skip
        return conflict

    def _said(
        self, person: Person, verdict: Literal["approve", "deny", "committed", "failed", "revoke"], reason: str, *,
        grant: bool = False, shown: str = "",
    ) -> Answer:  # fmt: skip
        return Answer(
            person.approver.name, self.clock(), person.via, person.origin, verdict, reason[:MAX_REASON], grant, shown
        )


def _said_already(record: Record, person: Person, verdict: str) -> bool:
    return any((one.by, one.verdict) == (person.approver.name, verdict) for one in record.answers)
