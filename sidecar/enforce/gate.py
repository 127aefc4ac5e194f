"""A tool call in, a verdict out: asks the engine, claims what the decision reserves, and settles when the call ended.

Knows no transport. Every way to fail ends in a refusal: no usable answer means no. The two exceptions are chosen by
the operator and recorded: monitor mode, and a store that may fail open.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.arguments import Projection, arguments_read, is_longer
from sidecar.decision.decision import Answer, Decision, Violation
from sidecar.decision.question import RESERVED, Form, fragment, question_about_list
from sidecar.enforce.call_cache import KnownCalls
from sidecar.enforce.limits import Counting
from sidecar.enforce.turns import Turns
from sidecar.enforce.verdict import (
    CANCELLED,
    CONTENDED,
    NO_CALLER,
    NO_STORE,
    TOO_LARGE,
    Forward,
    Refusal,
    Reply,
    Trial,
    Verdict,
    no_engine,
)
from sidecar.engine.engine import Engine, Finding
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable, Superseded
from sidecar.events import Decided, Emit, Judged, MethodDenied, Refused, Ruling, Settled, StoreFailed
from sidecar.ledger.values import (
    Amount,
    Claim,
    Counter,
    Entry,
    Exhausted,
    Ledger,
    Moved,
    Reservation,
    Seen,
    Taken,
    subtract,
)
from sidecar.mcp import jsonrpc, tool_call
from sidecar.mcp.jsonrpc import INVALID_PARAMS
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.bundle import Bundle
from sidecar.policy.model import Mode
from sidecar.policy.terms import CounterRead
from sidecar.system import defects, tasks
from sidecar.system.lines import PORTION
from sidecar.text import quoted, shown, visible

NAMED_FROM_OUTSIDE: Final = frozenset({"default_deny", "hidden", "invalid_amount"})
"""Kinds of refusal whose message the engine makes of a name: the tool's, as the client wrote it, or the rule's."""
MAX_ATTEMPTS: Final = 5
"""How often a call is judged anew because another policy came into force meanwhile."""
MAX_MOVES: Final = 100
"""How often a call is judged anew because a counter that it was judged by has changed meanwhile.

Each time some other call got through; of this process only those that read none of these counters, or others beside
them, so it takes other sidecars or many calls that only count to come so far.
"""
FINISH: Final = 2.0
"""Seconds that the end waits for the engine and the store together."""
MAX_QUESTION: Final = 2 << 20
"""Bytes of a question: a pattern goes through so much text within some 30 ms, and others wait for OPA meanwhile."""
MAX_FORMS: Final = 1_000
"""Tools whose questions are kept half written; a client may name any number."""


_NO_REFUSAL: Final = Refusal("allow", "", "")
_NOTHING: Final = Claim((), ())
_QUESTION: Final = "question"
_RULING: Final = "ruling"


class _Asking(msgspec.Struct, frozen=True):
    """How the calls of one tool are asked about under one bundle: what is read of a call, and the form to fill."""

    projection: Projection
    counters: tuple[CounterRead, ...]
    form: Form


class Gate:
    """Judges the calls of every session.

    `instance` makes decision ids unique among sidecars; `mode` wins over the policy's where it is given;
    `fail_open` lets calls pass that would be counted when the store cannot be used; `workload` says where in a
    cluster we run.

    Answers of the engine are worked off together, at the end of each pass of the event loop in which some came, or when
    another call comes after a portion of them: what they reserve is claimed in one go, and each decision is told before
    any call is forwarded.
    """

    def __init__(
        self, *, server: str, instance: str, engine: Engine, ledger: Ledger, emit: Emit,
        mode: Mode | None = None, fail_open: bool = False, workload: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._server = server
        self._workload = fragment(workload)
        self._ids = map(f"{instance}-{{:x}}".format, itertools.count(1))
        self._engine = engine
        self._counting = Counting(server, ledger, emit)
        self._turns: Turns[tuple[Counter, ...]] = Turns()
        self.known = KnownCalls()
        self._emit = emit
        self._mode = mode
        self._fail_open = fail_open
        self._later = asyncio.get_running_loop().call_soon
        self._lists = tasks.Group()
        self._asked_under = engine.bundle
        self._askings: dict[str, _Asking] = {}
        self._answers: list[tuple[Trial, Answer]] = []
        self._claims: list[tuple[Trial, Answer, Taken]] = []
        self._verdicts: list[tuple[Trial, Verdict]] = []
        self._is_due = False
        self._asked = 0
        self._all_answered = asyncio.Event()

    def next_id(self) -> str:
        """An id for the next decision or refusal."""
        return next(self._ids)

    def judge(self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None]) -> Trial:
        """Judge one call of a caller and deliver the verdict, once, unless the trial is dropped before.

        It comes after this returned: at the latest in the next pass of the event loop where the answer is remembered
        and no store has to be waited for. Raises `InvalidMessage` for a call that cannot be put as a question.
        """
        if len(self._answers) >= PORTION:
            self.conclude()
        trial = Trial(call, caller, next(self._ids), self._engine.bundle, deliver, time.perf_counter())
        try:
            self._begin(trial)
        except Exception:
            trial.drop()  # whatever it did before it failed
            raise
        return trial

    def permits(self, method: str, caller: Caller) -> bool:
        """True when a message with this method, which is no call, may go on; it is told where policy denies it."""
        bundle = self._engine.bundle
        if bundle.terms.permits(method):
            return True
        mode: Mode = "monitor" if self._monitors(bundle) else "enforce"
        self._emit(MethodDenied(self.next_id(), self._server, caller, method, mode))
        return mode == "monitor"

    @property
    def filters(self) -> bool:
        """True when the policy in force hides tools from lists."""
        return bool(self.hidden_by(self._engine.bundle))

    def hidden_by(self, bundle: Bundle) -> tuple[str, ...]:
        """The names and patterns that a bundle hides from this session."""
        return () if self._monitors(bundle) else bundle.terms.hidden

    def filter(
        self, tools: Sequence[str], caller: Caller, deliver: Callable[[frozenset[str] | None], None]
    ) -> None:  # fmt: skip
        """Deliver which of the listed tools the caller may not see; None when nobody can tell."""
        self._lists.start(self._filter(tools, caller, deliver))

    def settle(self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None) -> None:
        """The forwarded call ended: give back what certainly did not run took, then call `done`.

        Whoever hears of the outcome in `done` finds the counters as they must be.
        """
        entries, seconds = forward.entries, time.perf_counter() - forward.since
        returned = forward.given_back(outcome) if entries else ()
        self._emit(Settled(self._server, forward.tool, outcome, len(entries), len(returned), seconds))
        if returned:
            self._counting.give_back(returned, done)
        else:
            done()

    def conclude(self) -> None:
        """Conclude every trial that has its answer: claim, tell what was decided, and then deliver the verdicts.

        It comes by itself at the end of the pass; whoever passes on what came after those calls asks for it before.
        """
        if not self._is_due:
            return
        try:
            confirmed = self._engine.confirm()
            self._work_off(confirmed)
            claims, self._claims = self._claims, []
            for trial, answer, taken in claims:
                try:
                    self._claimed(trial, answer, taken, confirmed)
                except Exception as error:  # noqa: BLE001 - it refuses this call, whatever it is
                    self._break(trial, error)
            self._emit(Judged())
        except Exception as error:  # noqa: BLE001 - nothing of this was told for certain, so nothing passes
            self._break_all(error)
        verdicts, self._verdicts, self._is_due = self._verdicts, [], False
        for trial, verdict in verdicts:
            try:
                if not trial.dropped:
                    trial.deliver(verdict)
                elif isinstance(verdict, Forward):
                    self._counting.give_back(verdict.entries)
            except Exception as error:  # noqa: BLE001 - others have their verdicts after this one
                defects.tell("a verdict is not delivered", error)

    def _break(self, trial: Trial, error: Exception) -> None:
        """A defect of ours in judging one call: it is refused. What it took stays taken."""
        text = defects.text(defects.tell("a call is refused", error))
        self._verdicts.append((trial, Reply(jsonrpc.error(trial.call.id, jsonrpc.INTERNAL_ERROR, text))))
        self._end_turn(trial)
        self._will_conclude()

    def _break_all(self, error: Exception) -> None:
        """A defect of ours in what calls share: all that are here are refused."""
        trials = (
            [one[0] for one in self._answers] + [one[0] for one in self._claims] + [one[0] for one in self._verdicts]
        )
        self._answers, self._claims, self._verdicts = [], [], []
        for trial in trials:
            self._break(trial, error)

    async def finish(self) -> None:
        """Wait until everything that is under way is done, for `FINISH` at most: each part has a bound of its own."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH):
                while self._is_due or self._lists or self._counting.work or self._asked:
                    self.conclude()
                    await self._lists.wait()
                    await self._counting.work.wait()
                    if self._asked:
                        await self._all_answered.wait()

    async def _filter(
        self, tools: Sequence[str], caller: Caller, deliver: Callable[[frozenset[str] | None], None]
    ) -> None:  # fmt: skip
        try:
            hidden = await self._hidden(tools, caller)
        except Exception as error:  # noqa: BLE001 - whatever it is, nobody can tell what may be seen
            defects.tell("a list of tools is refused", error)
            hidden = None
        deliver(hidden)

    async def _hidden(self, tools: Sequence[str], caller: Caller) -> frozenset[str] | None:
        body = question_about_list(self._server, tools, principal=caller.document, workload=self._workload)
        for _ in range(MAX_ATTEMPTS):
            try:
                answer = await self._engine.ask_visible(body, tools, self._engine.bundle, self.next_id())
            except Superseded:
                continue
            except EngineUnavailable:
                break
            return frozenset(answer.hidden)
        return None

    # The steps of a judgement: begin, look up what is counted, ask; then, together with others, claim and conclude.

    def _begin(self, trial: Trial) -> None:
        call, bundle, principal = trial.call, trial.bundle, trial.caller.principal
        body: bytes
        kept = call.memo.get(_QUESTION)
        if kept is not None and kept[0] is bundle and kept[1] is principal:
            body = kept[2]
        else:
            asking = self._asking(call, bundle)
            arguments = arguments_read(call, asking.projection)
            if len(call.raw) > MAX_QUESTION and is_longer(arguments, MAX_QUESTION):
                self._refuse(trial, None, TOO_LARGE)
                return
            if asking.counters:
                self._counting.work.start(self._look_up(trial, asking, arguments))
                return
            body = asking.form.filled(arguments, None, trial.caller.document)
            call.memo[_QUESTION] = (bundle, principal, body)
        answer = self._engine.recall(body)
        if answer is None:
            self._ask(trial, body, lasting=True)
        else:
            self._answered(trial, answer)

    def _asking(self, call: ToolCall, bundle: Bundle) -> _Asking:
        """How this call is asked about. Raises `InvalidMessage` where no tool can have its name."""
        if bundle is not self._asked_under:
            self._asked_under, self._askings = bundle, {}
            self.known.forget()  # or it would hold on to the old bundle
        asking = self._askings.get(call.tool)
        if asking is None:
            _check_name(call, bundle)
            if len(self._askings) >= MAX_FORMS:
                self._askings.clear()
            form = Form(self._server, call.tool, self._workload)
            reads = bundle.terms.reads_of(call.tool)
            asking = self._askings[call.tool] = _Asking(Projection(reads.paths), reads.counters, form)
        return asking

    async def _look_up(self, trial: Trial, asking: _Asking, arguments: dict[str, Any]) -> None:
        """Ask with the totals of the counters that a rule reads; an answer to that does not last.

        What was seen goes with the claim. Calls that met there are judged one after the other from then on.
        """
        try:
            await self._ask_with_totals(trial, asking, arguments)
        except Exception as error:  # noqa: BLE001 - it refuses this call, whatever it is
            self._break(trial, error)

    async def _ask_with_totals(self, trial: Trial, asking: _Asking, arguments: dict[str, Any]) -> None:
        counters = self._counting.read(asking.counters, trial.caller)
        if counters is None:
            self._refuse(trial, None, NO_CALLER)
            return
        if trial.turn != counters and (trial.moves or self._turns.is_taken(counters)):
            self._end_turn(trial)  # whoever waits has none, so no two wait for each other
            await self._turns.take(counters)
            trial.turn = counters
        try:
            trial.seen = await self._counting.look_up(counters)
        except StoreUnavailable as error:
            self._emit(StoreFailed(self._server, str(error)))
            if not self._fail_open:
                self._refuse(trial, None, NO_STORE)
                return
            # A store that is back by the claim tells where they really stand.
            trial.seen = tuple(Seen(counter, 0) for counter in counters)
        totals = {item.name: seen.total for item, seen in zip(asking.counters, trial.seen, strict=True)}
        self._ask(trial, asking.form.filled(arguments, totals, trial.caller.document), lasting=False)

    def _end_turn(self, trial: Trial) -> None:
        if trial.turn is not None:
            self._turns.end(trial.turn)
            trial.turn = None

    def _ask(self, trial: Trial, body: bytes, *, lasting: bool) -> None:
        if len(body) > MAX_QUESTION:
            self._refuse(trial, None, TOO_LARGE)
            return
        asked = time.perf_counter()

        def found(finding: Finding) -> None:
            self._asked -= 1
            trial.engine_seconds = time.perf_counter() - asked
            try:
                if isinstance(finding, Answer):
                    self._answered(trial, finding)
                elif isinstance(finding, Superseded):
                    self._begin_again(trial)
                else:
                    self._refuse(trial, None, no_engine(finding))
            except Exception as error:  # noqa: BLE001 - it refuses this call, whatever it is, and not who asks the same
                self._break(trial, error)
            if not self._asked:
                self._all_answered.set()

        self._asked += 1
        self._all_answered.clear()
        self._engine.put(body, trial.bundle, trial.decision_id, found, lasting=lasting)

    def _begin_again(self, trial: Trial) -> None:
        """Judge the call once more, whole, by the policy that is in force now."""
        trial.attempts += 1
        if trial.attempts > MAX_ATTEMPTS:
            self._refuse(trial, None, no_engine(_too_many_policies()))
        else:
            self._judge_anew(trial)

    def _moved(self, trial: Trial) -> None:
        """Judge the call once more, by the counters as they stand now."""
        trial.moves += 1
        if trial.dropped:
            self._refuse(trial, None, CANCELLED)
        elif trial.moves > MAX_MOVES:
            self._refuse(trial, None, CONTENDED)
        else:
            self._judge_anew(trial)

    def _judge_anew(self, trial: Trial) -> None:
        trial.bundle = self._engine.bundle
        trial.seen = ()
        try:
            self._begin(trial)
        except InvalidMessage as problem:
            self._emit(Refused(trial.decision_id, self._server, trial.caller, problem.code, str(problem)))
            self._verdicts.append((trial, Reply(jsonrpc.error(problem.id, problem.code, str(problem)))))
            self._end_turn(trial)
            self._will_conclude()

    def _work_off(self, confirmed: bool) -> None:
        """What becomes of each answer that is there; what all of them reserve is claimed in one go."""
        counted: list[tuple[Trial, Answer]] = []
        wanted: list[tuple[Reservation, ...]] = []
        seen: dict[int, tuple[Seen, ...]] = {}
        answers, self._answers = self._answers, []
        for trial, answer in answers:
            decision = answer.decision
            try:
                if trial.dropped:
                    self._refuse(trial, answer, CANCELLED)
                elif answer.remembered and not confirmed:
                    self._begin_again(trial)  # the engine was lost since
                elif decision.action != "allow":
                    self._refuse(trial, answer, Refusal(decision.kind, decision.rule, _reason(decision)))
                elif not decision.reserve and not trial.seen:
                    self._allow(trial, answer, _NOTHING)
                elif (wants := self._counting.wanted(decision.reserve, trial.caller, trial.bundle)) is None:
                    self._refuse(trial, answer, NO_CALLER)
                else:
                    if trial.seen:
                        seen[len(wanted)] = trial.seen
                    counted.append((trial, answer))
                    wanted.append(wants)
            except Exception as error:  # noqa: BLE001 - it refuses this call, whatever it is
                self._break(trial, error)
        if wanted:
            self._counting.claim(wanted, seen, lambda place, taken: self._took(*counted[place], taken))

    def _answered(self, trial: Trial, answer: Answer) -> None:
        self._answers.append((trial, answer))
        self._will_conclude()

    def _will_conclude(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._later(self.conclude)

    def _took(self, trial: Trial, answer: Answer, taken: Taken) -> None:
        self._claims.append((trial, answer, taken))
        self._will_conclude()

    def _claimed(self, trial: Trial, answer: Answer, taken: Taken, confirmed: bool) -> None:
        if isinstance(taken, StoreUnavailable):
            self._emit(StoreFailed(self._server, str(taken)))
        is_stale = trial.bundle is not self._engine.bundle or (answer.remembered and not confirmed)
        if is_stale and not trial.dropped:
            # The engine was lost, or another policy came into force, while the call waited for the store.
            if isinstance(taken, Claim):
                self._counting.give_back(taken.entries)
            self._begin_again(trial)
        elif isinstance(taken, StoreUnavailable):
            self._no_store(trial, answer)
        elif isinstance(taken, Moved):
            self._moved(trial)
        elif isinstance(taken, Exhausted):
            limit = answer.decision.reserve[taken.position]
            self._refuse(trial, answer, Refusal(limit.kind, limit.rule, limit.reason, taken.seconds))
        elif trial.dropped:
            self._refuse(trial, answer, CANCELLED)
            self._counting.give_back(taken.entries)
        else:
            self._allow(trial, answer, taken)

    def _no_store(self, trial: Trial, answer: Answer) -> None:
        if trial.dropped:
            self._refuse(trial, answer, CANCELLED)
        elif self._fail_open:
            uncounted = Refusal("store_unavailable", "", "Passed uncounted.")
            self._tell(trial, self._ruling(trial, answer, answer.decision.violations, uncounted, allowed=True))
            self._forward(trial, (), ())
        else:
            self._refuse(trial, answer, NO_STORE)

    # The two ends.

    def _allow(self, trial: Trial, answer: Answer, claim: Claim) -> None:
        decision, refunds = answer.decision, trial.bundle.terms.refunds
        if not decision.reserve:
            self._tell(trial, self._permission(trial, answer, decision.violations))
            self._forward(trial, (), ())
            return
        violations, left = _counted(decision, claim.totals)
        self._tell(trial, self._permission(trial, answer, violations), left)
        self._forward(trial, claim.entries, tuple([refunds.get(item.counter, "not_run") for item in decision.reserve]))

    def _permission(self, trial: Trial, answer: Answer, violations: tuple[Violation, ...]) -> Ruling:
        """The ruling that a call may pass: the same one for the same answer, if nothing was added to its violations."""
        kept = trial.call.memo.get(_RULING)
        if kept is not None and kept[0] is answer and kept[1] is violations:
            ruling: Ruling = kept[2]
            return ruling
        ruling = self._ruling(trial, answer, violations, _NO_REFUSAL, allowed=True)
        trial.call.memo[_RULING] = (answer, violations, ruling)
        return ruling

    def _refuse(self, trial: Trial, answer: Answer | None, refusal: Refusal) -> None:
        violations = answer.decision.violations if answer is not None else ()
        limited = refusal.retry_after is not None
        self._tell(trial, self._ruling(trial, answer, violations, refusal, allowed=False), limited=limited)
        if trial.dropped:
            return
        if self._monitors(trial.bundle):
            self._forward(trial, (), ())
            return
        meta: dict[str, Any] = {
            "id": trial.decision_id,
            "rule": refusal.rule,
            "kind": refusal.kind,
            "revision": trial.bundle.revision,
        }
        if refusal.retry_after is not None:
            meta["retry_after_seconds"] = refusal.retry_after
        if answer is not None and answer.decision.approval is not None:
            meta["timeout_seconds"] = answer.decision.approval.timeout
            message = tool_call.approval_required(trial.call, refusal.reason, meta)
        else:
            message = tool_call.denial(trial.call, refusal.reason, meta)
        self._verdicts.append((trial, Reply(message)))

    def _forward(self, trial: Trial, entries: tuple[Entry, ...], refunds: tuple[str, ...]) -> None:
        call = trial.call
        self._verdicts.append((trial, Forward(call.id, call.tool, entries, refunds, time.perf_counter())))

    def _ruling(
        self, trial: Trial, answer: Answer | None, violations: tuple[Violation, ...], by: Refusal, *, allowed: bool
    ) -> Ruling:  # fmt: skip
        bundle = trial.bundle
        mode: Mode = "monitor" if self._monitors(bundle) else "enforce"
        engine_id, remembered = (answer.engine_id, answer.remembered) if answer else (None, False)
        # By position: of so many fields names would cost more than all else here.
        return Ruling(
            allowed, mode, by.kind, by.rule, by.reason, violations, bundle.revision, bundle.serial, engine_id,
            remembered,
        )  # fmt: skip

    def _tell(
        self, trial: Trial, ruling: Ruling, left: tuple[tuple[str, float], ...] = (), *, limited: bool = False
    ) -> None:
        """Tell everybody what was decided."""
        if trial.turn is not None:
            self._end_turn(trial)
        self._will_conclude()
        seconds = time.perf_counter() - trial.since
        self._emit(
            Decided(
                trial.decision_id, self._server, trial.caller, trial.call, ruling, seconds, trial.engine_seconds, left,
                limited,
            )
        )  # fmt: skip

    def _monitors(self, bundle: Bundle) -> bool:
        return self._mode == "monitor" if self._mode else bundle.terms.monitor


def _check_name(call: ToolCall, bundle: Bundle) -> None:
    odd = tool_call.is_odd_name(call.tool) and call.tool not in bundle.terms.tools
    if odd or call.tool.startswith(RESERVED):
        raise InvalidMessage(INVALID_PARAMS, f"no tool can be called {quoted(shown(call.tool))}", call.id)


def _counted(
    decision: Decision, totals: tuple[Amount, ...]
) -> tuple[tuple[Violation, ...], tuple[tuple[str, float], ...]]:
    """The violations, those of limits that only monitor included, and what is left of each limit."""
    violations = decision.violations
    left: list[tuple[str, float]] = []
    for item, total in zip(decision.reserve, totals, strict=True):
        if item.limit is None:
            continue
        rest = subtract(item.limit, total)
        left.append((item.rule, float(rest)))
        if rest < 0 or (item.exclusive and rest == 0):
            violations = (*violations, Violation(item.rule, item.reason, item.kind, monitor=True))
    return violations, tuple(left)


def _too_many_policies() -> EngineUnavailable:
    return EngineUnavailable("revision", "the policy changes faster than calls can be judged")


def _reason(decision: Decision) -> str:
    # The author's own words stay as they are; a name that the client chose must not hide anything.
    return visible(decision.reason) if decision.kind in NAMED_FROM_OUTSIDE else decision.reason
