"""The question about each call: what is read of it, which counters it is judged by, and how the decider is asked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.arguments import Projection, arguments_read, is_longer
from sidecar.decision.decider import Decider, Finding
from sidecar.decision.decision import Answer
from sidecar.decision.question import Form, time_of_call
from sidecar.enforce.call_cache import CachedCall, CachedQuestion, CallCache
from sidecar.enforce.limits import Counters
from sidecar.enforce.trial import Trial
from sidecar.enforce.turns import Turns
from sidecar.enforce.verdict import NO_CALLER, NO_STORE, TOO_LARGE, Grounds, no_engine
from sidecar.errors import EngineUnavailable, InvalidMessage, StoreUnavailable, Superseded
from sidecar.events import Emit, StoreFailed
from sidecar.ledger.values import Amount, Counter, Seen
from sidecar.mcp import tool_call
from sidecar.mcp.jsonrpc import INVALID_PARAMS
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import Bundle
from sidecar.policy.names import RESERVED
from sidecar.policy.terms import CounterRead, Reads
from sidecar.text import shown_quoted

MAX_QUESTION: Final = 2 << 20
"""Bytes of a question: a pattern goes through so much text within some 30 ms, and others wait for OPA meanwhile."""
MAX_IN_SHADOW: Final = 256 << 10
"""Bytes of a call that rules in shadow judge: what they read must not make a question longer than `MAX_QUESTION`."""
MAX_FORMS: Final = 1_000
"""Tools whose questions are kept half written; a client may name any number."""

Result: TypeAlias = Answer | Superseded | Grounds | Exception
"""What becomes of the question about a call.

The answer; that the policy changed meanwhile; why the call is denied without an answer; or a defect of ours.
"""
Found: TypeAlias = Callable[[Trial, Result], None]
Fill: TypeAlias = Callable[[Mapping[str, Amount] | None], bytes]
"""Makes the question about one call, with the totals of the counters that it is judged by."""


class ToolQuestion(msgspec.Struct, frozen=True):
    """How the calls of one tool are asked about under one bundle: what is read of a call, and the form to fill.

    `no_nul` is the part of what is read in which no text may hold a NUL character.
    `caller` is what is read of the caller, None for nothing. `keys` where the names of all arguments are, `time` where
    that of the call is. An answer that is not `lasting` is not used again. `bare` is the question without what only
    rules in shadow read, None where there is no such thing.
    """

    projection: Projection
    no_nul: Projection
    keys: bool
    caller: Projection | None
    counters: tuple[CounterRead, ...]
    time: bool
    lasting: bool
    form: Form
    bare: ToolQuestion | None = None


class Questions:
    """Puts the questions about the calls of one server.

    A question is a function of bundle and call, and of the caller where rules read anything of him; a known call keeps
    it. With the totals of counters in it, or the time, it is made anew each time, and its answer is not to be recalled;
    nor is any other that does not last. `clock` gives Unix seconds.
    """

    def __init__(
        self, *, server: str, workload: Mapping[str, str], decider: Decider, counters: Counters, known: CallCache,
        emit: Emit, fail_open: bool, clock: Callable[[], float],
    ) -> None:  # fmt: skip
        self._server = server
        self._workload = dict(workload)
        self._decider = decider
        self._counters = counters
        self._known = known
        self._emit = emit
        self._fail_open = fail_open
        self._clock = clock
        self._turns: Turns[tuple[Counter, ...]] = Turns()
        self._bundle = decider.bundle
        self._by_tool: dict[str, ToolQuestion] = {}
        self._open = 0
        self._none_open = asyncio.Event()

    @property
    def are_open(self) -> bool:
        """True while the decider has questions that it has not answered."""
        return self._open > 0

    async def answered(self) -> None:
        """Wait until no question is open."""
        if self._open:
            await self._none_open.wait()

    def put(self, trial: Trial, found: Found) -> None:
        """Put the question about a call; `found` gets what becomes of it, at once where the answer is remembered.

        Raises `InvalidMessage` for a call that cannot be put as a question.
        """
        call, bundle, caller = trial.call, trial.bundle, trial.caller
        memo = call.memo if type(call) is CachedCall else None
        if (
            memo is not None
            and (kept := memo.question) is not None
            and kept.bundle is bundle
            and (not kept.names_caller or (kept.principal is caller.principal and kept.said is caller.said))
        ):
            body = kept.body
        else:
            asking = self._asking(call, bundle)
            if asking.bare is not None and len(call.raw) > MAX_IN_SHADOW:
                asking, trial.spares_shadow = asking.bare, True
            arguments = arguments_read(call, asking.projection, asking.no_nul)
            keys = sorted(call.arguments) if asking.keys else None
            if len(call.raw) > MAX_QUESTION and is_longer([arguments, keys], MAX_QUESTION):
                found(trial, TOO_LARGE)
                return
            about = self._about(caller, asking.caller) if asking.caller is not None else {}
            time_told = time_of_call(self._clock()) if asking.time else ""
            if asking.counters:
                fill = partial(asking.form.filled, arguments, keys=keys, caller=about, time=time_told)
                self._counters.work.start(self._look_up(trial, asking.counters, fill, found))
                return
            body = asking.form.filled(arguments, keys=keys, caller=about, time=time_told)
            if not asking.lasting:
                self._ask(trial, body, found, lasting=False)
                return
            if memo is not None:
                memo.question = CachedQuestion(bundle, asking.caller is not None, caller.principal, caller.said, body)
        answer = self._decider.recall(body)
        if answer is None:
            self._ask(trial, body, found, lasting=True)
        else:
            found(trial, answer)

    def end_turn(self, trial: Trial) -> None:
        """The call is done with the counters that it was judged by: the next that waits for them is judged."""
        if trial.turn is not None:
            self._turns.end(trial.turn)
            trial.turn = None

    def _asking(self, call: ToolCall, bundle: Bundle) -> ToolQuestion:
        """How this call is asked about. Raises `InvalidMessage` where no tool can have its name."""
        if bundle is not self._bundle:
            self._bundle, self._by_tool = bundle, {}
            self._known.forget()  # or it would hold on to the old bundle
        asking = self._by_tool.get(call.tool)
        if asking is None:
            _check_name(call, bundle)
            if len(self._by_tool) >= MAX_FORMS:
                self._by_tool.clear()
            asking = self._by_tool[call.tool] = self._question(call.tool, bundle.terms.reads_of(call.tool))
        return asking

    def _question(self, tool: str, reads: Reads) -> ToolQuestion:
        of_caller = Projection(reads.caller, guarded=False, whole=reads.whole) if reads.caller or reads.whole else None
        bare = ToolQuestion(
            Projection(reads.paths, reads.only or (), whole=reads.whole),
            Projection(reads.no_nul, guarded=False, whole=reads.whole), reads.only is not None or reads.keys, of_caller,
            reads.counters, reads.time, reads.lasting, Form(self._server, tool),
        )  # fmt: skip
        if not reads.shadow_paths and not reads.shadow_names:
            return bare
        more = Projection(reads.paths, reads.only or (), beside=reads.shadow_paths, whole=reads.whole)
        return msgspec.structs.replace(bare, projection=more, keys=reads.names, bare=bare)

    def _about(self, caller: Caller, projection: Projection) -> dict[str, Any]:
        """What is read of the caller."""
        return projection.of({**caller.document, "workload": self._workload})

    async def _look_up(self, trial: Trial, reads: tuple[CounterRead, ...], fill: Fill, found: Found) -> None:
        """Ask with the totals of the counters that a rule reads; an answer to that does not last.

        What was seen goes with the claim. Calls that met there are judged one after the other from then on.
        """
        try:
            await self._ask_with_totals(trial, reads, fill, found)
        except Exception as error:  # noqa: BLE001 - it denies this call, whatever it is
            found(trial, error)

    async def _ask_with_totals(
        self, trial: Trial, reads: tuple[CounterRead, ...], fill: Fill, found: Found
    ) -> None:  # fmt: skip
        counters = self._counters.read(reads, trial.call.tool, trial.caller)
        if counters is None:
            found(trial, NO_CALLER)
            return
        if trial.turn != counters and (trial.moves or self._turns.is_taken(counters)):
            self.end_turn(trial)  # whoever waits has none, so no two wait for each other
            await self._turns.take(counters)
            trial.turn = counters
        try:
            trial.seen = await self._counters.look_up(counters)
        except StoreUnavailable as error:
            self._emit(StoreFailed(self._server, str(error)))
            if not self._fail_open:
                found(trial, NO_STORE)
                return
            # A store that is back by the claim tells where they really stand.
            trial.seen = tuple(Seen(counter, 0) for counter in counters)
        totals = {item.name: seen.total for item, seen in zip(reads, trial.seen, strict=True)}
        self._ask(trial, fill(totals), found, lasting=False)

    def _ask(self, trial: Trial, body: bytes, found: Found, *, lasting: bool) -> None:
        if len(body) > MAX_QUESTION:
            found(trial, TOO_LARGE)
            return
        asked = time.perf_counter()

        def done(finding: Finding) -> None:
            self._open -= 1
            now = time.perf_counter()
            trial.engine_seconds, trial.answered = now - asked, now - trial.since
            try:
                found(trial, no_engine(finding) if isinstance(finding, EngineUnavailable) else finding)
            except Exception as error:  # noqa: BLE001 - it denies this call, and not those that ask the same
                found(trial, error)
            if not self._open:
                self._none_open.set()

        self._open += 1
        self._none_open.clear()
        self._decider.put(body, trial.bundle, trial.decision_id, done, lasting=lasting)


def _check_name(call: ToolCall, bundle: Bundle) -> None:
    odd = tool_call.is_odd_name(call.tool) and call.tool not in bundle.terms.tools
    if odd or call.tool.startswith(RESERVED):
        raise InvalidMessage(INVALID_PARAMS, f"no tool can be called {shown_quoted(call.tool)}", call.id)
