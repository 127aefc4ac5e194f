"""Group commit: calls whose answers came are concluded in portions, as a database commits transactions together.

A portion shares what costs most: one transaction of the store claims what all its calls reserve, and one write of the
audit log tells of all of them, before any of them is forwarded. A portion is closed at the end of the pass of the event
loop in which its answers came, or once `PORTION` of them wait; no call waits for a timer.
"""

from __future__ import annotations

import asyncio
from typing import Final, assert_never

from sidecar.decision.decider import Decider
from sidecar.decision.decision import Answer, uncounted, without_shadow
from sidecar.enforce.approving import Approving
from sidecar.enforce.asked_tools import AskedTools
from sidecar.enforce.asking import Asking
from sidecar.enforce.limits import Counters
from sidecar.enforce.questions import Questions, Result
from sidecar.enforce.rulings import Rulings
from sidecar.enforce.settling import Settling
from sidecar.enforce.trial import MAX_ATTEMPTS, MAX_MOVES, Trial
from sidecar.enforce.verdict import (
    CANCELLED,
    CONTENDED,
    NO_CALLER,
    NO_STORE,
    Forward,
    Grounds,
    Hold,
    Reply,
    Verdict,
    exhausted,
    no_engine,
)
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable, Superseded
from sidecar.events import Emit, Judged, Refused, Settled, StoreFailed
from sidecar.ledger.approvals import QueueFull, Unapproved, Wants
from sidecar.ledger.protocol import Claim, Exhausted, Moved, Taken
from sidecar.ledger.values import Entry, Reservation, Seen
from sidecar.mcp import jsonrpc
from sidecar.mcp.tool_call import Outcome
from sidecar.policy.model import SCOPES
from sidecar.system import defects

_NOTHING: Final = Claim((), ())


class GroupCommit:
    """The calls of one server that have an answer, a claim or a verdict, and are concluded next.

    `answers` are those that came. Once a portion of them waits, whoever has another call concludes them before.
    """

    def __init__(
        self, *, server: str, decider: Decider, questions: Questions, counters: Counters, rulings: Rulings,
        asking: Asking, asked_tools: AskedTools, settling: Settling, emit: Emit, fail_open: bool,
    ) -> None:  # fmt: skip
        self.answers: list[tuple[Trial, Answer]] = []
        self.is_due = False
        self._server = server
        self._decider = decider
        self._questions = questions
        self._counters = counters
        self._rulings = rulings
        self._asked_tools = asked_tools
        self.approving = Approving(
            server=server, asking=asking, settling=settling, rulings=rulings, emit=emit, again=self._judge_anew,
            give=self._give, broken=self._break,
        )  # fmt: skip
        self._emit = emit
        self._fail_open = fail_open
        self._later = asyncio.get_running_loop().call_soon
        self._claims: list[tuple[Trial, Answer, Taken]] = []
        self._verdicts: list[tuple[Trial, Verdict]] = []

    def found(self, trial: Trial, result: Result) -> None:
        """What became of the question about a call."""
        match result:
            case Answer():
                self.answers.append((trial, result))
                if not self.is_due:
                    self._will_conclude()
            case Superseded():
                self._begin_again(trial)
            case Grounds():
                self._give(trial, self._rulings.deny(trial, None, result))
            case _:
                self._break(trial, result)

    def conclude(self) -> None:
        """Conclude every call that has its answer: claim, tell what was decided, and then deliver the verdicts."""
        if not self.is_due:
            return
        try:
            confirmed = self._decider.confirm()
            self._claim(confirmed)
            claims, self._claims = self._claims, []
            for trial, answer, taken in claims:
                try:
                    self._claimed(trial, answer, taken, confirmed)
                except Exception as error:  # noqa: BLE001 - it denies this call, whatever it is
                    self._break(trial, error)
            self._emit(Judged())
        except Exception as error:  # noqa: BLE001 - nothing of this was told for certain, so nothing passes
            self._break_all(error)
        verdicts, self._verdicts, self.is_due = self._verdicts, [], False
        if self.answers:
            self._will_conclude()  # a call was judged anew, by an answer that was remembered
        self._deliver(verdicts)

    def _deliver(self, verdicts: list[tuple[Trial, Verdict]]) -> None:
        for trial, verdict in verdicts:
            try:
                if trial.dropped:
                    self._withdraw(verdict)
                else:
                    trial.deliver(verdict)
            except Exception as error:  # noqa: BLE001 - others have their verdicts after this one
                defects.tell("a verdict is not delivered", error)

    def _withdraw(self, verdict: Verdict) -> None:
        """Nobody waits for a verdict any more."""
        match verdict:
            case Forward():
                self._undo(verdict.approval, verdict.use, verdict.entries)
                undone = verdict.entries
                # It was told that it is forwarded: whoever waits for its end hears of that too.
                self._emit(
                    Settled(
                        self._server, verdict.decision_id, verdict.tool, Outcome.NOT_RUN, len(undone), len(undone), 0.0,
                        "given_up", undone=undone,
                    )
                )  # fmt: skip
            case Reply() | Hold():
                pass
            case _:
                assert_never(verdict)

    # From answers to claims.

    def _claim(self, confirmed: bool) -> None:
        """Claim in one go what all the calls reserve that have an answer; those that need no claim have a verdict."""
        counted: list[tuple[Trial, Answer]] = []
        wanted: list[tuple[Reservation, ...]] = []
        seen: dict[int, tuple[Seen, ...]] = {}
        asked: dict[int, Wants] = {}
        answers, self.answers = self.answers, []
        for trial, found in answers:
            try:
                answer = _judged(trial, found)
                wants = self._wanted(trial, answer, confirmed)
            except Exception as error:  # noqa: BLE001 - it denies this call, whatever it is
                self._break(trial, error)
                continue
            if wants is not None:
                reservations, approval = wants
                if trial.seen:
                    seen[len(wanted)] = trial.seen
                if approval is not None:
                    asked[len(wanted)] = approval
                counted.append((trial, answer))
                wanted.append(reservations)
        if wanted:
            self._counters.claim(wanted, seen, asked, lambda place, taken: self._took(*counted[place], taken))

    def _wanted(
        self, trial: Trial, answer: Answer, confirmed: bool
    ) -> tuple[tuple[Reservation, ...], Wants | None] | None:  # fmt: skip
        """What a call has to claim before it may pass; None where it has its verdict, or is judged anew."""
        decision, rulings = answer.decision, self._rulings
        # The engine's word counts, whatever the terms say; by the terms other calls of the tool may ask.
        needs = decision.approval if decision.action == "require_approval" else None
        asks = self._asked_tools.have(trial.call.tool, trial.bundle.terms) or needs is not None
        if trial.dropped:
            self._give(trial, rulings.deny(trial, answer, CANCELLED))
        elif answer.recalled and not confirmed:
            self._begin_again(trial)  # the engine was lost since
        elif decision.action != "allow" and (needs is None or rulings.only_monitors(trial)):
            self._give(trial, rulings.follow(trial, answer))
        elif not decision.reserve and not trial.seen and not asks:
            self._give(trial, rulings.allow(trial, answer, _NOTHING))
        elif (takes := self._counters.wanted(decision.reserve, trial.call.tool, trial.caller, trial.bundle)) is None:
            self._give(trial, rulings.deny(trial, answer, NO_CALLER))
        elif not asks or rulings.only_monitors(trial):
            return takes, None
        elif isinstance(wants := self.approving.wants(trial, answer, takes), Grounds):
            self._give(trial, rulings.deny(trial, answer, wants))
        else:
            return takes, wants
        return None

    def _took(self, trial: Trial, answer: Answer, taken: Taken) -> None:
        self._claims.append((trial, answer, taken))
        if not self.is_due:
            self._will_conclude()

    # From claims to verdicts.

    def _claimed(self, trial: Trial, answer: Answer, taken: Taken, confirmed: bool) -> None:
        match taken:
            case StoreUnavailable():
                self._emit(StoreFailed(self._server, str(taken)))
            case Unapproved(is_new=True):
                self.approving.changed(taken.record)
        is_stale = trial.bundle is not self._decider.bundle or (answer.recalled and not confirmed)
        if is_stale or trial.dropped:
            # Another policy came into force, or the engine was lost, while the call waited for the store; or its client
            # gave it up.
            if isinstance(taken, Claim):
                self._undo_claim(taken)
            if trial.dropped:
                self._give(trial, self._rulings.deny(trial, answer, CANCELLED))
            else:
                self._begin_again(trial)
        elif isinstance(taken, Moved):
            self._judge_by_moved(trial)
        else:
            self._give(trial, self._verdict(trial, answer, taken))

    def _verdict(
        self, trial: Trial, answer: Answer, taken: Claim | Exhausted | Unapproved | QueueFull | StoreUnavailable
    ) -> Verdict:  # fmt: skip
        match taken:
            case Claim():
                if taken.approval is not None:
                    self.approving.changed(taken.approval)
                elif answer.decision.action != "allow":
                    raise AssertionError("a call that asks for an approval was claimed without one")
                return self._rulings.allow(trial, answer, taken)
            case Unapproved() | QueueFull():
                return self.approving.not_taken(trial, answer, taken)
            case Exhausted():
                grounds = exhausted(taken, answer.decision.reserve, trial.bundle.terms.monitored)
                return self._rulings.deny(trial, answer, grounds)
            case StoreUnavailable() if self._needs_no_claim(trial, answer):
                return self._rulings.allow(trial, uncounted(answer), _NOTHING)
            case StoreUnavailable() if self._fail_open and answer.decision.action == "allow":
                return self._rulings.allow_uncounted(trial, answer)
            case StoreUnavailable():
                return self._rulings.deny(trial, answer, NO_STORE)
            case _:
                assert_never(taken)

    def _needs_no_claim(self, trial: Trial, answer: Answer) -> bool:
        """True for a call that would have been claimed nothing for, were there no rules in shadow."""
        decision = answer.decision
        counts = not all(item.shadow for item in decision.reserve) or bool(trial.seen)
        asks = self._asked_tools.have(trial.call.tool, trial.bundle.terms)
        return decision.action == "allow" and not counts and not asks

    # Once more.

    def _begin_again(self, trial: Trial) -> None:
        """Judge the call once more, whole, by the policy that is in force now."""
        trial.attempts += 1
        if trial.attempts > MAX_ATTEMPTS:
            error = EngineUnavailable("revision", "the policy changes faster than calls can be judged")
            self._give(trial, self._rulings.deny(trial, None, no_engine(error)))
        else:
            self._judge_anew(trial)

    def _judge_by_moved(self, trial: Trial) -> None:
        """Judge the call once more, by the counters as they stand now."""
        trial.moves += 1
        if trial.dropped:
            self._give(trial, self._rulings.deny(trial, None, CANCELLED))
        elif trial.moves > MAX_MOVES:
            self._give(trial, self._rulings.deny(trial, None, CONTENDED))
        else:
            self._judge_anew(trial)

    def _undo_claim(self, claim: Claim) -> None:
        if claim.approval is None:
            self._undo("", 0, claim.entries)
        else:
            self._undo(claim.approval.id, claim.approval.uses, claim.entries)

    def _undo(self, approval: str, use: int, entries: tuple[Entry, ...]) -> None:
        """A call is not forwarded: it took nothing."""
        if approval:
            self.approving.release(approval, use, entries)
        else:
            self._counters.give_back(entries)

    def _judge_anew(self, trial: Trial) -> None:
        trial.bundle = self._decider.bundle
        trial.seen = ()
        trial.spares_shadow = False
        try:
            self._questions.put(trial, self.found)
        except InvalidMessage as problem:
            self._emit(Refused(trial.decision_id, self._server, trial.caller, problem.code, str(problem)))
            self._give(trial, Reply(jsonrpc.error(problem.id, problem.code, str(problem))))

    # The end of each.

    def _give(self, trial: Trial, verdict: Verdict) -> None:
        """The call has its verdict, which is delivered once its portion was told."""
        self._verdicts.append((trial, verdict))
        if trial.turn is not None:
            self._questions.end_turn(trial)
        if not self.is_due:
            self._will_conclude()

    def _will_conclude(self) -> None:
        self.is_due = True
        self._later(self.conclude)

    def _break(self, trial: Trial, error: Exception) -> None:
        """A defect of ours in judging one call: it is denied. What it took stays taken."""
        text = defects.text(defects.tell("a call is refused", error))
        self._give(trial, Reply(jsonrpc.error(trial.call.id, jsonrpc.INTERNAL_ERROR, text)))

    def _break_all(self, error: Exception) -> None:
        """A defect of ours in what calls share: all that are here are denied."""
        trials = (
            [one[0] for one in self.answers] + [one[0] for one in self._claims] + [one[0] for one in self._verdicts]
        )
        self.answers, self._claims, self._verdicts = [], [], []
        for trial in trials:
            self._break(trial, error)


def _judged(trial: Trial, answer: Answer) -> Answer:
    """The answer as it counts for this call: rules in shadow are left out where they cannot be judged or counted."""
    if trial.spares_shadow:
        return without_shadow(answer)
    for item in answer.decision.reserve:
        if item.shadow and trial.caller.holder(item.scope) is None:
            return uncounted(answer, [scope for scope in SCOPES if trial.caller.holder(scope) is None])
    return answer
