"""Calls that a person has to agree to: what they ask for, what they are told, and how they wait.

The ledger takes an approval together with the limits of the call. Here stands what that claim asks for, and what
becomes of a call whose approval is not there: it waits in place, or is told to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import assert_never

from sidecar.decision.decision import Answer
from sidecar.enforce.asking import Asking, TooLargeToShow
from sidecar.enforce.holding import Held, Holding
from sidecar.enforce.rulings import Rulings
from sidecar.enforce.settling import Settling, settlement
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import (
    CANCELLED,
    TOO_LARGE_TO_SHOW,
    Forward,
    Grounds,
    Verdict,
    denied_by,
    full_queue,
    not_free,
)
from sidecar.events import ApprovalChanged, Emit
from sidecar.ledger.approvals import QueueFull, Record, Unapproved, Wants
from sidecar.ledger.values import Entry, Reservation
from sidecar.mcp.tool_call import Outcome


class Approving:
    """The approvals of the calls of one server.

    `again` judges a call anew, `give` gives it a verdict, and `broken` denies one that met a defect of ours.
    """

    def __init__(
        self, *, server: str, asking: Asking, settling: Settling, rulings: Rulings, emit: Emit,
        again: Callable[[Trial], None], give: Callable[[Trial, Verdict], None],
        broken: Callable[[Trial, Exception], None],
    ) -> None:  # fmt: skip
        self._server = server
        self._asking = asking
        self._settling = settling
        self._rulings = rulings
        self._emit = emit
        self._again = again
        self._give = give
        self._broken = broken
        self._holding = Holding(settling.approvals, self._decided, self._held_long_enough)

    def wants(self, trial: Trial, answer: Answer, takes: tuple[Reservation, ...]) -> Wants | Grounds:
        """What a call asks for, or why it cannot be asked about."""
        approval = answer.decision.approval
        if approval is None:
            return self._asking.same(trial.call)
        try:
            return self._asking.asked(trial, answer, approval, takes)
        except TooLargeToShow:
            return TOO_LARGE_TO_SHOW

    def changed(self, record: Record) -> None:
        """A person is asked about a call from now on, or a call took an approval into use."""
        self._emit(ApprovalChanged(self._server, record))

    def not_taken(self, trial: Trial, answer: Answer, why: Unapproved | QueueFull) -> Verdict:
        """A call has no approval that it could use: what becomes of it."""
        match why:
            case QueueFull():
                return self._rulings.deny(trial, answer, full_queue(why))
            case Unapproved(record):
                match record.state:
                    case "pending":
                        return self._wait(trial, answer, record)
                    case "denied":
                        return self._rulings.deny(trial, answer, denied_by(record))
                    case _:
                        return self._rulings.deny(trial, answer, not_free(record))
            case _:
                assert_never(why)

    def release(self, approval: str, use: int, entries: tuple[Entry, ...]) -> None:
        """A call that took an approval was not forwarded: all is as before."""
        self._settling.settle(approval, use, "released", entries)

    def settle(self, forward: Forward, outcome: Outcome, done: Callable[[], None]) -> None:
        """A call that used an approval ended; then call `done`."""
        self._settling.settle(forward.approval, forward.use, settlement(outcome), forward.given_back(outcome), done)

    def doubt(self, forward: Forward) -> None:
        """The client gave up a call that used an approval: nobody knows what becomes of it, until it is settled."""
        self._settling.settle(forward.approval, forward.use, "unknown", ())

    def end_holds(self) -> None:
        """No call waits in place any longer, from now on."""
        self._holding.end_all()

    def _wait(self, trial: Trial, answer: Answer, record: Record) -> Verdict:
        """A call whose approval is pending waits in place where the policy says so, or is told to come back."""
        hold = trial.bundle.terms.approvals.hold
        if not hold or not trial.may_hold or not self._holding.takes_more or self._rulings.asks_at_client(trial):
            return self._rulings.wait(trial, answer, record)
        now = asyncio.get_running_loop().time()
        until = trial.held_until = trial.held_until or now + hold
        if now >= until:
            return self._rulings.wait(trial, answer, record)
        self._holding.hold(Held(trial, answer, record, until))
        return self._rulings.hold(trial, record, until - now)

    def _decided(self, held: Held) -> None:
        """What a call waited for is decided: the policy is asked again."""
        try:
            self._again(held.trial)
        except Exception as error:  # noqa: BLE001 - it denies this call, and not the others that wait
            self._broken(held.trial, error)

    def _held_long_enough(self, held: Held) -> None:
        """A call waited as long as it may, or its client gave it up."""
        trial, answer = held.trial, held.answer
        try:
            if trial.dropped:
                verdict = self._rulings.deny(trial, answer, CANCELLED)
            else:
                verdict = self._rulings.wait(trial, answer, held.record)
            self._give(trial, verdict)
        except Exception as error:  # noqa: BLE001 - it denies this call, and not the others that wait
            self._broken(trial, error)
