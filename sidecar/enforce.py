"""A tool call in, a verdict out: asks the engine, claims what the decision reserves, and settles when the call ended.

Knows no transport. Every way to fail ends in a refusal: no usable answer means no. The two exceptions are chosen by
the operator and recorded: monitor mode, and a store that may fail open.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import msgspec

from sidecar import jsonrpc, protocol, tasks
from sidecar.caller import Caller
from sidecar.decision import (
    RESERVED,
    Answer,
    Decision,
    Form,
    Reserve,
    Violation,
    arguments_read,
    fragment,
    question_about_list,
)
from sidecar.engine.engine import Engine, Finding
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable, Superseded
from sidecar.events import Decided, Emit, Judged, Refused, Settled, StoreFailed
from sidecar.jsonrpc import INVALID_PARAMS
from sidecar.ledger.values import Amount, Claim, Claimed, Counter, Entry, Exhausted, Ledger, Reservation, subtract
from sidecar.policy.bundle import Bundle, Reads
from sidecar.policy.model import Mode
from sidecar.protocol import Outcome, ToolCall
from sidecar.text import quoted, shown, visible

NAMED_FROM_OUTSIDE: Final = frozenset({"default_deny", "hidden", "invalid_amount"})
"""Kinds of refusal whose message the engine makes of a name: the tool's, as the client wrote it, or the rule's."""
MAX_ATTEMPTS: Final = 5
"""How often a call is judged anew because another policy came into force meanwhile."""
MAX_FORMS: Final = 1_000
"""Tools whose questions are kept half written; a client may name any number."""


class Forward(msgspec.Struct, frozen=True):
    """Send the call on. Whoever sends it tells `Gate.settle` how it ended.

    `refunds` says for each entry of the claim when it is given back: `on_error`, `on_failure`, `never`.
    """

    call: ToolCall
    entries: tuple[Entry, ...]
    refunds: tuple[str, ...]
    since: float


class Reply(msgspec.Struct, frozen=True):
    """Do not send the call; answer the client with these bytes."""

    message: bytes


Verdict: TypeAlias = Forward | Reply


class Refusal(msgspec.Struct, frozen=True):
    """Why a call is not forwarded; `retry_after` is in seconds, for a limit that is exhausted."""

    kind: str
    rule: str
    reason: str
    retry_after: int | None = None


CANCELLED: Final = Refusal("cancelled", "", "Cancelled before it was forwarded.")
NO_CALLER: Final = Refusal(
    "invalid_request", "", "A limit counts by caller, and this caller did not authenticate. The call was not forwarded."
)  # fmt: skip
NO_STORE: Final = Refusal(
    "store_unavailable", "", "The store of counters cannot be used. The call was not forwarded."
)  # fmt: skip
_NO_REFUSAL: Final = Refusal("allow", "", "")
_NOTHING: Final = Claim((), ())


class Trial(msgspec.Struct):
    """One call on its way through the gate, judged under one bundle. `deliver` gets the verdict, once.

    `since` is when it began, by the performance counter; `engine_seconds` how long the engine took, where it was asked.
    """

    call: ToolCall
    caller: Caller
    decision_id: str
    bundle: Bundle
    deliver: Callable[[Verdict], None]
    since: float
    engine_seconds: float | None = None
    attempts: int = 0
    dropped: bool = False

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""
        self.dropped = True


class _Asking(msgspec.Struct, frozen=True):
    """How the calls of one tool are asked about under one bundle: what is read of a call, and the form to fill."""

    reads: Reads
    form: Form


class Gate:
    """Judges the calls of every session.

    `instance` makes decision ids unique among sidecars; `mode` wins over the policy's where it is given;
    `fail_open` lets calls pass that would be counted when the store cannot be used; `workload` says where in a
    cluster we run.

    Answers of the engine are worked off together, once in each pass of the event loop in which some came: what they
    reserve is claimed in one go, and each decision is told before any call is forwarded.
    """

    def __init__(
        self, *, server: str, instance: str, engine: Engine, ledger: Ledger, emit: Emit,
        mode: Mode | None = None, fail_open: bool = False, workload: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._server = server
        self._workload = fragment(workload)
        self._ids = map(f"{instance}-{{:x}}".format, itertools.count(1))
        self._engine = engine
        self._ledger = ledger
        self._emit = emit
        self._mode = mode
        self._fail_open = fail_open
        self._later = asyncio.get_running_loop().call_soon
        self._tasks: set[asyncio.Task[None]] = set()
        self._asked_under = engine.bundle
        self._askings: dict[str, _Asking] = {}
        self._answers: list[tuple[Trial, Answer]] = []
        self._claims: list[tuple[Trial, Answer, Claimed | StoreUnavailable]] = []
        self._verdicts: list[tuple[Trial, Verdict]] = []
        self._is_due = False
        self._asked = 0
        self._all_answered = asyncio.Event()

    def next_id(self) -> str:
        """An id for the next decision or refusal."""
        return next(self._ids)

    def judge(self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None]) -> Trial:
        """Judge one call of a caller and deliver the verdict, once, unless the trial is dropped before.

        It comes after this returned: in the next pass of the event loop where the answer is remembered and no store
        has to be waited for. Raises `InvalidMessage` for a call that cannot be put as a question.
        """
        trial = Trial(call, caller, next(self._ids), self._engine.bundle, deliver, time.perf_counter())
        self._begin(trial)
        return trial

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
        self._spawn(self._filter(tools, caller, deliver))

    def settle(self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None) -> None:
        """The forwarded call ended: give back what certainly did not run took, then call `done`.

        Whoever hears of the outcome in `done` finds the counters as they must be.
        """
        returned = _returned(forward, outcome) if forward.entries else ()
        seconds = time.perf_counter() - forward.since
        self._emit(Settled(self._server, forward.call.tool, outcome, len(forward.entries), len(returned), seconds))
        if returned and not self._gave_back(returned):
            self._spawn(self._give_back(returned, done))
        else:
            done()

    def conclude(self) -> None:
        """Conclude every trial that has its answer: claim, tell what was decided, and then deliver the verdicts.

        It comes by itself at the end of the pass; whoever passes on what came after those calls asks for it before.
        """
        if not self._is_due:
            return
        wanting: list[tuple[Trial, Answer, tuple[Reservation, ...]]] = []
        for trial, answer in self._answers:
            decision = answer.decision
            if trial.dropped:
                self._refuse(trial, answer, CANCELLED)
            elif decision.action != "allow":
                self._refuse(trial, answer, Refusal(decision.kind, decision.rule, _reason(decision)))
            elif not decision.reserve:
                self._allow(trial, answer, _NOTHING)
            elif any(trial.caller.holder(item.scope) is None for item in decision.reserve):
                self._refuse(trial, answer, NO_CALLER)
            else:
                wanting.append((trial, answer, tuple([self._reservation(item, trial) for item in decision.reserve])))
        self._answers.clear()
        if wanting:
            self._claim(wanting)
        for trial, answer, claimed in self._claims:
            self._claimed(trial, answer, claimed)
        self._claims.clear()
        self._emit(Judged())
        verdicts, self._verdicts, self._is_due = self._verdicts, [], False
        for trial, verdict in verdicts:
            if not trial.dropped:
                trial.deliver(verdict)
            elif isinstance(verdict, Forward):
                self._undo(verdict.entries)

    async def finish(self) -> None:
        """Wait until everything that is under way is done."""
        while self._tasks or self._asked or self._is_due:
            self.conclude()
            if self._tasks:
                await asyncio.wait(self._tasks)
            elif self._asked:
                await self._all_answered.wait()

    async def _filter(
        self, tools: Sequence[str], caller: Caller, deliver: Callable[[frozenset[str] | None], None]
    ) -> None:  # fmt: skip
        body = question_about_list(self._server, tools, principal=caller.document, workload=self._workload)
        for _ in range(MAX_ATTEMPTS):
            try:
                answer = await self._engine.ask_visible(body, tools, self._engine.bundle, self.next_id())
            except Superseded:
                continue
            except EngineUnavailable:
                break
            deliver(frozenset(answer.hidden))
            return
        deliver(None)

    # The steps of a judgement: begin, look up what is counted, ask; then, together with others, claim and conclude.

    def _begin(self, trial: Trial) -> None:
        call = trial.call
        asking = self._asking(call, trial.bundle)
        arguments = arguments_read(call, asking.reads.paths)
        if asking.reads.counters:
            self._spawn(self._look_up(trial, asking, arguments))
            return
        body = asking.form.filled(arguments, None, trial.caller.document)
        answer = self._engine.recall(body)
        if answer is None:
            self._ask(trial, body, lasting=True)
        else:
            self._answered(trial, answer)

    def _asking(self, call: ToolCall, bundle: Bundle) -> _Asking:
        """How this call is asked about. Raises `InvalidMessage` where no tool can have its name."""
        if bundle is not self._asked_under:
            self._asked_under, self._askings = bundle, {}
        asking = self._askings.get(call.tool)
        if asking is None:
            _check_name(call, bundle)
            if len(self._askings) >= MAX_FORMS:
                self._askings.clear()
            form = Form(self._server, call.tool, self._workload)
            asking = self._askings[call.tool] = _Asking(bundle.terms.reads_of(call.tool), form)
        return asking

    async def _look_up(self, trial: Trial, asking: _Asking, arguments: dict[str, Any]) -> None:
        """Ask with the totals of the counters that a rule reads; an answer to that does not last."""
        reads = asking.reads.counters
        holders = [trial.caller.holder(item.scope) for item in reads]
        if None in holders:
            self._refuse(trial, None, NO_CALLER)
            return
        counters = tuple(
            Counter(self._key(item.counter), holder or "", item.window)
            for item, holder in zip(reads, holders, strict=True)
        )
        try:
            totals: Sequence[Amount] = await self._ledger.totals(counters)
        except StoreUnavailable as error:
            self._emit(StoreFailed(self._server, str(error)))
            if not self._fail_open:
                self._refuse(trial, None, NO_STORE)
                return
            totals = [0] * len(reads)
        known = {item.name: total for item, total in zip(reads, totals, strict=True)}
        self._ask(trial, asking.form.filled(arguments, known, trial.caller.document), lasting=False)

    def _ask(self, trial: Trial, body: bytes, *, lasting: bool) -> None:
        asked = time.perf_counter()

        def found(finding: Finding) -> None:
            self._asked -= 1
            trial.engine_seconds = time.perf_counter() - asked
            if isinstance(finding, Answer):
                self._answered(trial, finding)
            elif isinstance(finding, Superseded):
                self._begin_again(trial)
            else:
                self._refuse(trial, None, Refusal("engine_unavailable", "", f"{finding}. The call was not forwarded."))
            if not self._asked:
                self._all_answered.set()

        self._asked += 1
        self._all_answered.clear()
        self._engine.put(body, trial.bundle, trial.decision_id, found, lasting=lasting)

    def _begin_again(self, trial: Trial) -> None:
        """Another policy came into force: judge the call by that one, whole."""
        trial.attempts += 1
        trial.bundle = self._engine.bundle
        if trial.attempts > MAX_ATTEMPTS:
            error = _too_many_policies()
            self._refuse(trial, None, Refusal("engine_unavailable", "", f"{error}. The call was not forwarded."))
            return
        try:
            self._begin(trial)
        except InvalidMessage as problem:
            self._emit(Refused(trial.decision_id, self._server, trial.caller, problem.code, str(problem)))
            self._verdicts.append((trial, Reply(jsonrpc.error(problem.id, problem.code, str(problem)))))
            self._will_conclude()

    def _answered(self, trial: Trial, answer: Answer) -> None:
        self._answers.append((trial, answer))
        self._will_conclude()

    def _will_conclude(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._later(self.conclude)

    def _claim(self, wanting: Sequence[tuple[Trial, Answer, tuple[Reservation, ...]]]) -> None:
        """Claim what several calls want: at once for all, or each waits for the store by itself."""
        try:
            claimed = self._ledger.claim_at_once([wanted for _, _, wanted in wanting])
        except StoreUnavailable as error:
            self._claims += [(trial, answer, error) for trial, answer, _ in wanting]
            return
        if claimed is not None:
            self._claims += [(*asked[:2], one) for asked, one in zip(wanting, claimed, strict=True)]
            return
        for trial, answer, wanted in wanting:
            self._spawn(self._wait_for_claim(trial, answer, wanted))

    async def _wait_for_claim(self, trial: Trial, answer: Answer, wanted: tuple[Reservation, ...]) -> None:
        claimed: Claimed | StoreUnavailable
        try:
            claimed = await self._ledger.claim(wanted)
        except StoreUnavailable as error:
            claimed = error
        self._claims.append((trial, answer, claimed))
        self._will_conclude()

    def _claimed(self, trial: Trial, answer: Answer, claimed: Claimed | StoreUnavailable) -> None:
        if isinstance(claimed, StoreUnavailable):
            self._no_store(trial, answer, claimed)
        elif isinstance(claimed, Exhausted):
            limit = answer.decision.reserve[claimed.position]
            self._refuse(trial, answer, Refusal(limit.kind, limit.rule, limit.reason, claimed.seconds))
        elif trial.dropped:
            self._refuse(trial, answer, CANCELLED)
            self._undo(claimed.entries)
        else:
            self._allow(trial, answer, claimed)

    def _no_store(self, trial: Trial, answer: Answer, error: StoreUnavailable) -> None:
        self._emit(StoreFailed(self._server, str(error)))
        if trial.dropped:
            self._refuse(trial, answer, CANCELLED)
        elif self._fail_open:
            self._tell(trial, answer, Refusal("store_unavailable", "", "Passed uncounted."), allowed=True)
            self._forward(trial, (), ())
        else:
            self._refuse(trial, answer, NO_STORE)

    # The two ends.

    def _allow(self, trial: Trial, answer: Answer, claim: Claim) -> None:
        refunds = trial.bundle.terms.refunds
        self._tell(trial, answer, None, allowed=True, totals=claim.totals)
        self._forward(
            trial, claim.entries, tuple([refunds.get(item.counter, "on_error") for item in answer.decision.reserve])
        )

    def _refuse(self, trial: Trial, answer: Answer | None, refusal: Refusal) -> None:
        self._tell(trial, answer, refusal, allowed=False)
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
            message = protocol.approval_required(trial.call, refusal.reason, meta)
        else:
            message = protocol.denial(trial.call, refusal.reason, meta)
        self._verdicts.append((trial, Reply(message)))

    def _forward(self, trial: Trial, entries: tuple[Entry, ...], refunds: tuple[str, ...]) -> None:
        self._verdicts.append((trial, Forward(trial.call, entries, refunds, time.perf_counter())))

    def _tell(
        self, trial: Trial, answer: Answer | None, refusal: Refusal | None, *, allowed: bool,
        totals: tuple[Amount, ...] = (),
    ) -> None:  # fmt: skip
        """Tell everybody what was decided."""
        violations, left = _counted(answer, totals)
        bundle = trial.bundle
        mode: Mode = "monitor" if self._monitors(bundle) else "enforce"
        by, seconds = refusal or _NO_REFUSAL, time.perf_counter() - trial.since
        engine_id, remembered = (answer.engine_id, answer.remembered) if answer else (None, False)
        self._will_conclude()
        # By position: of so many fields names would cost more than all else here.
        self._emit(
            Decided(
                trial.decision_id, self._server, trial.caller, trial.call, allowed, mode, by.kind, by.rule, by.reason,
                violations, bundle.revision, bundle.serial, engine_id, remembered, seconds, trial.engine_seconds, left,
                by.retry_after is not None,
            )
        )  # fmt: skip

    def _monitors(self, bundle: Bundle) -> bool:
        return self._mode == "monitor" if self._mode else bundle.terms.monitor

    # Counting.

    def _reservation(self, item: Reserve, trial: Trial) -> Reservation:
        # A rule that only monitors counts, and refuses nothing.
        limit = None if item.counter in trial.bundle.terms.monitored else item.limit
        key, holder = self._key(item.counter), trial.caller.holder(item.scope) or ""
        return Reservation(key, holder, item.seconds, item.amount, limit, item.exclusive)

    def _key(self, counter: str) -> str:
        return f"{self._server}/{counter}"

    def _undo(self, entries: tuple[Entry, ...]) -> None:
        """Give back what a call took that will not be forwarded."""
        if entries and not self._gave_back(entries):
            self._spawn(self._give_back(entries))

    def _gave_back(self, entries: tuple[Entry, ...]) -> bool:
        try:
            return self._ledger.give_back_at_once(entries)
        except StoreUnavailable as error:
            self._lost(error)
            return True

    async def _give_back(self, entries: tuple[Entry, ...], done: Callable[[], None] = lambda: None) -> None:
        try:
            await self._ledger.give_back(entries)
        except StoreUnavailable as error:
            self._lost(error)
        done()

    def _lost(self, error: StoreUnavailable) -> None:
        # What is not given back only makes a limit tighter.
        self._emit(StoreFailed(self._server, f"a reservation could not be given back: {error}"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = tasks.start(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _check_name(call: ToolCall, bundle: Bundle) -> None:
    odd = protocol.is_odd_name(call.tool) and call.tool not in bundle.terms.tools
    if odd or call.tool.startswith(RESERVED):
        raise InvalidMessage(INVALID_PARAMS, f"no tool can be called {quoted(shown(call.tool))}", call.id)


def _returned(forward: Forward, outcome: Outcome) -> tuple[Entry, ...]:
    """What a call that ended so gives back."""
    return tuple(
        entry
        for entry, refund in zip(forward.entries, forward.refunds, strict=True)
        if outcome.value == refund.removeprefix("on_") or (outcome is Outcome.ERROR and refund == "on_failure")
    )


def _counted(
    answer: Answer | None, totals: tuple[Amount, ...]
) -> tuple[tuple[Violation, ...], tuple[tuple[str, float], ...]]:
    """The violations, those of limits that only monitor included, and what is left of each limit."""
    if answer is None:
        return (), ()
    violations = answer.decision.violations
    if not totals:
        return violations, ()
    left: list[tuple[str, float]] = []
    for item, total in zip(answer.decision.reserve, totals, strict=True):
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
