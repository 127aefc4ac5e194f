"""A tool call in, a verdict out: asks the engine, claims what the decision reserves, and settles when the call ended.

Knows no transport. Every way to fail ends in a refusal: no usable answer means no.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sidecar import protocol
from sidecar.decision import RESERVED, Answer, Decision, Reserve, question_about
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable
from sidecar.events import Decided, Emit, Settled, StoreFailed
from sidecar.jsonrpc import INVALID_PARAMS
from sidecar.ledger.values import Claim, Claimed, Entry, Exhausted, Ledger, Reservation
from sidecar.policy.bundle import Bundle
from sidecar.protocol import Outcome, ToolCall
from sidecar.text import quoted, shown, visible

NAMED_FROM_OUTSIDE: Final = frozenset({"default_deny", "hidden"})
"""Kinds of refusal whose message holds the tool's name as the client wrote it."""


@dataclass(frozen=True, slots=True)
class Forward:
    """Send the call on. Whoever sends it tells `Gate.settle` how it ended.

    `refunds` says for each entry of the claim when it is given back: `on_error`, `on_failure`, `never`.
    """

    call: ToolCall
    entries: tuple[Entry, ...]
    refunds: tuple[str, ...]
    since: float


@dataclass(frozen=True, slots=True)
class Reply:
    """Do not send the call; answer the client with these bytes."""

    message: bytes


Verdict: TypeAlias = Forward | Reply


class Trial:
    """One call on its way through the gate, judged under one bundle. `deliver` gets the verdict, once."""

    __slots__ = ("bundle", "call", "decision_id", "deliver", "dropped", "engine_seconds", "since")

    def __init__(self, call: ToolCall, decision_id: str, bundle: Bundle, deliver: Callable[[Verdict], None]) -> None:
        self.call = call
        self.decision_id = decision_id
        self.bundle = bundle
        self.deliver = deliver
        self.since = time.perf_counter()
        self.engine_seconds: float | None = None
        self.dropped = False

    def drop(self) -> None:
        """The client gave the call up: it will neither be forwarded nor answered."""
        self.dropped = True


class Gate:
    """Judges the calls of one session. `instance` makes decision ids unique among sidecars."""

    def __init__(self, *, server: str, session: str, instance: str, engine: Engine, ledger: Ledger, emit: Emit) -> None:
        self._server = server
        self._session = session
        self._client = ""
        self._ids = map(f"{instance}-{{:x}}".format, itertools.count(1))
        self._engine = engine
        self._ledger = ledger
        self._emit = emit
        self._tasks: set[asyncio.Task[None]] = set()

    def meet(self, client: str) -> None:
        """The client said what it is called."""
        self._client = shown(client)

    def next_id(self) -> str:
        """An id for the next decision or refusal."""
        return next(self._ids)

    def judge(self, call: ToolCall, deliver: Callable[[Verdict], None]) -> Trial:
        """Judge one call and deliver the verdict, once, unless the trial is dropped before.

        It comes before this returns when the answer is remembered and no store has to be waited for. Raises
        `InvalidMessage` for a call that cannot be put as a question.
        """
        trial = Trial(call, self.next_id(), self._engine.bundle, deliver)
        _check_name(call, trial.bundle)
        body = question_about(call, self._server, trial.bundle)
        answer = self._engine.recall(body)
        if answer is None:
            self._spawn(self._ask(trial, body))
        else:
            self._answered(trial, answer)
        return trial

    def settle(self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None) -> None:
        """The forwarded call ended: give back what certainly did not run took, then call `done`.

        Whoever hears of the outcome in `done` finds the counters as they must be.
        """
        returned = tuple(
            entry
            for entry, refund in zip(forward.entries, forward.refunds, strict=True)
            if outcome.value == refund.removeprefix("on_") or (outcome is Outcome.ERROR and refund == "on_failure")
        )
        seconds = time.perf_counter() - forward.since
        self._emit(Settled(self._server, forward.call.tool, outcome, len(forward.entries), len(returned), seconds))
        if returned and not self._gave_back(returned):
            self._spawn(self._give_back(returned, done))
        else:
            done()

    async def finish(self) -> None:
        """Wait until everything that is under way is done."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    # The steps of a judgement: ask, be answered, claim, be claimed.

    async def _ask(self, trial: Trial, body: bytes) -> None:
        asked = time.perf_counter()
        try:
            answer = await self._engine.ask(body, trial.decision_id)
        except EngineUnavailable as error:
            trial.engine_seconds = time.perf_counter() - asked
            self._refuse(trial, None, "engine_unavailable", "", f"{error}. The call was not forwarded.")
            return
        trial.engine_seconds = time.perf_counter() - asked
        self._answered(trial, answer)

    def _answered(self, trial: Trial, answer: Answer) -> None:
        decision = answer.decision
        if trial.dropped:
            self._refuse(trial, answer, "cancelled", "", "Cancelled before it was forwarded.")
        elif decision.action != "allow":
            self._refuse(trial, answer, decision.kind, decision.rule, _reason(decision))
        elif not decision.reserve:
            self._allow(trial, answer, Claim((), ()))
        else:
            self._claim(trial, answer, tuple(map(self._reservation, decision.reserve)))

    def _claim(self, trial: Trial, answer: Answer, wanted: tuple[Reservation, ...]) -> None:
        try:
            claimed = self._ledger.claim_at_once(wanted)
        except StoreUnavailable as error:
            self._no_store(trial, answer, error)
            return
        if claimed is None:
            self._spawn(self._wait_for_claim(trial, answer, wanted))
        else:
            self._claimed(trial, answer, claimed)

    async def _wait_for_claim(self, trial: Trial, answer: Answer, wanted: tuple[Reservation, ...]) -> None:
        try:
            claimed = await self._ledger.claim(wanted)
        except StoreUnavailable as error:
            self._no_store(trial, answer, error)
            return
        if trial.dropped and isinstance(claimed, Claim):
            self._refuse(trial, answer, "cancelled", "", "Cancelled before it was forwarded.")
            await self._give_back(claimed.entries)
        else:
            self._claimed(trial, answer, claimed)

    def _claimed(self, trial: Trial, answer: Answer, claimed: Claimed) -> None:
        if isinstance(claimed, Exhausted):
            limit = answer.decision.reserve[claimed.position]
            self._refuse(trial, answer, limit.kind, limit.rule, limit.reason, retry_after=claimed.seconds)
        else:
            self._allow(trial, answer, claimed)

    # The two ends.

    def _allow(self, trial: Trial, answer: Answer, claim: Claim) -> None:
        reserve = answer.decision.reserve
        left = tuple((item.rule, float(amount)) for item, amount in zip(reserve, claim.left, strict=True))
        refunds = tuple(trial.bundle.terms.refunds.get(item.counter, "on_error") for item in reserve)
        self._emit(self._decided(trial, answer, "allow", left=left))
        trial.deliver(Forward(trial.call, claim.entries, refunds, time.perf_counter()))

    def _refuse(
        self, trial: Trial, answer: Answer | None, kind: str, rule: str, reason: str, *, retry_after: int | None = None
    ) -> None:
        self._emit(self._decided(trial, answer, kind, rule, reason, limited=retry_after is not None))
        if trial.dropped:
            return
        meta: dict[str, Any] = {"id": trial.decision_id, "rule": rule, "kind": kind, "revision": trial.bundle.revision}
        if retry_after is not None:
            meta["retry_after_seconds"] = retry_after
        trial.deliver(Reply(protocol.denial(trial.call, reason, meta)))

    def _no_store(self, trial: Trial, answer: Answer, error: StoreUnavailable) -> None:
        self._emit(StoreFailed(self._server, str(error)))
        reason = "The store of counters cannot be used. The call was not forwarded."
        self._refuse(trial, answer, "store_unavailable", "", reason)

    def _decided(
        self, trial: Trial, answer: Answer | None, kind: str, rule: str = "", reason: str = "",
        left: tuple[tuple[str, float], ...] = (), limited: bool = False,
    ) -> Decided:  # fmt: skip
        return Decided(
            decision_id=trial.decision_id,
            server=self._server,
            session=self._session,
            client=self._client,
            call=trial.call,
            allowed=kind == "allow",
            kind=kind,
            rule=rule,
            reason=reason,
            violations=answer.decision.violations if answer else (),
            revision=trial.bundle.revision,
            serial=trial.bundle.serial,
            engine_id=answer.engine_id if answer else None,
            remembered=answer.remembered if answer else False,
            seconds=time.perf_counter() - trial.since,
            engine_seconds=trial.engine_seconds,
            left=left,
            limited=limited,
        )

    # Counting.

    def _reservation(self, item: Reserve) -> Reservation:
        holder = self._session if item.scope == "session" else ""
        return Reservation(f"{self._server}/{item.counter}", holder, item.seconds, item.amount, item.limit)

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
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()  # a defect of ours must reach the loop's handler, which stops everything


def _check_name(call: ToolCall, bundle: Bundle) -> None:
    odd = protocol.is_odd_name(call.tool) and call.tool not in bundle.terms.tools
    if odd or call.tool.startswith(RESERVED):
        raise InvalidMessage(INVALID_PARAMS, f"no tool can be called {quoted(shown(call.tool))}", call.id)


def _reason(decision: Decision) -> str:
    # The author's own words stay as they are; a name that the client chose must not hide anything.
    return visible(decision.reason) if decision.kind in NAMED_FROM_OUTSIDE else decision.reason
