"""A tool call in, a verdict out. Of all of enforcing, other packages know only the gate.

Theory of operation. A call goes through the gate as a `Trial`, in these steps, each of them a module:

1. `questions`: what the policy reads of the call becomes a question, with the totals of the counters that a rule reads.
   A known call keeps its question (`call_cache`). The decider recalls the answer, or is asked.
2. `group_commit`: answers are collected, and concluded in portions. What a portion reserves is claimed from the ledger
   in one go (`limits`).
3. `rulings`: each call is allowed, denied, or found to need approval. That is told to whoever listens, and gives the
   verdict.
4. `group_commit` again: once all of a portion was told, which also writes the audit log, the verdicts are delivered.

`settle` is the last step, after the server has answered: what a call reserved is refunded where each rule's `refund`
setting says so, by default only if the call certainly did not run.

A step is repeated when what it rests on has changed: an answer by another policy than the one in force, an answer
recalled from a decider that was lost since, or a counter that moved since the question send the call back to step 1. No
call is judged half by one policy and half by another. Repetitions are bounded (`trial`), and calls that contend for a
counter that they are judged by take turns (`turns`).

Every way to fail ends in a denial: no usable answer means no. The two exceptions are chosen by the operator and
recorded: monitor mode, and a store that may fail open. A defect of ours denies the call that met it, or the batch in
which that call was being committed, and no other.

Knows no transport and no engine: whoever decides is a `Decider`, and to a session the gate is a `Judge`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.decision.decider import Decider
from sidecar.enforce.asked_tools import AskedTools
from sidecar.enforce.asking import Asking
from sidecar.enforce.call_cache import CallCache
from sidecar.enforce.group_commit import GroupCommit
from sidecar.enforce.limits import Counters
from sidecar.enforce.lists import DeliverHidden, Lists
from sidecar.enforce.questions import Questions
from sidecar.enforce.rulings import Rulings
from sidecar.enforce.settling import Settling
from sidecar.enforce.trial import Trial
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.events import Emit, MethodDenied, Settled
from sidecar.ledger.protocol import Ledger
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.policy.bundle import Bundle
from sidecar.policy.model import Mode
from sidecar.system.lines import PORTION

FINISH: Final = 2.0
"""Seconds that the end waits for the decider and the store together."""


class Gate:
    """Judges the calls of every session.

    `instance` makes decision ids unique among sidecars; `mode` wins over the policy's where it is given; `fail_open`
    lets calls pass that would be counted when the store cannot be used; `workload` says where in a cluster we run.
    `key` is the store's secret, by which it knows calls again that it must not hold; `page_url` is where people
    approve, empty where there is no page. `doubtful` are tools of which the store has calls that may have run.
    """

    def __init__(
        self, *, server: str, instance: str, decider: Decider, ledger: Ledger, emit: Emit,
        key: bytes, mode: Mode | None = None, fail_open: bool = False,
        workload: Mapping[str, str] = MappingProxyType({}), page_url: str = "",
        doubtful: Collection[str] = (), clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.known = CallCache()
        self._server = server
        self._decider = decider
        self._emit = emit
        self._mode = mode
        self._ids = _ids(f"{instance}-")
        self._counters = Counters(server, ledger, emit)
        self._questions = Questions(
            server=server, workload=workload, decider=decider, counters=self._counters, known=self.known, emit=emit,
            fail_open=fail_open, clock=clock,
        )  # fmt: skip
        self._asking = Asking(server, instance, key, clock)
        self._settling = Settling(server, ledger.approvals, emit)
        self._commit = GroupCommit(
            server=server, decider=decider, questions=self._questions, counters=self._counters,
            rulings=Rulings(server, emit, mode, page_url, self._asking.recent), asking=self._asking,
            asked_tools=AskedTools(doubtful), settling=self._settling, emit=emit, fail_open=fail_open,
        )  # fmt: skip
        self._lists = Lists(server=server, decider=decider, mode=mode, next_id=self.next_id)

    def next_id(self) -> str:
        """An id for the next decision or refusal."""
        return next(self._ids)

    def judge(
        self, call: ToolCall, caller: Caller, deliver: Callable[[Verdict], None], *, may_hold: bool = True
    ) -> Trial:  # fmt: skip
        """Judge one call of a caller and deliver the verdict, once, unless the trial is dropped before.

        It comes after this returned: at the latest in the next pass of the event loop where the answer is remembered
        and no store has to be waited for. A call that `may_hold` can get a `Hold` first, once. Raises `InvalidMessage`
        for a call that cannot be put as a question.
        """
        commit = self._commit
        if len(commit.answers) >= PORTION:
            commit.conclude()
        trial = Trial(call, caller, next(self._ids), self._decider.bundle, deliver, time.perf_counter())
        trial.may_hold = may_hold
        try:
            self._questions.put(trial, commit.found)
        except Exception:
            trial.drop()  # whatever it did before it failed
            raise
        return trial

    def conclude(self) -> None:
        """Conclude every call that has its answer.

        That comes by itself at the end of the pass; whoever passes on what came after those calls asks for it before.
        """
        self._commit.conclude()

    def settle(
        self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None, cause: str = "",
        status: int = 0,
    ) -> None:  # fmt: skip
        """Refund what the rules' `refund` settings give back for this outcome, then call `done`.

        Whoever hears of the outcome in `done` finds the counters as they must be. `cause` and `status` say why the
        server did not answer, in the words of `Settled`.
        """
        entries, seconds = forward.entries, time.perf_counter() - forward.since
        returned = forward.given_back(outcome) if entries else ()
        self._emit(
            Settled(
                self._server, forward.decision_id, forward.tool, outcome, len(entries), len(returned), seconds, cause,
                status, returned,
            )
        )  # fmt: skip
        if forward.approval:
            self._commit.approving.settle(forward, outcome, done)
        elif returned:
            self._counters.give_back(returned, done)
        else:
            done()

    def given_up(self, forward: Forward) -> None:
        """The client gave up a call that was forwarded: what became of it is known once it is settled, if ever."""
        if forward.approval:
            self._commit.approving.doubt(forward)

    def wants_definition(self, tool: str) -> bool:
        """True for a tool whose definition an approval is bound to."""
        return self._decider.bundle.terms.asks(tool)

    def saw(self, tool: str, digest: str) -> None:
        """The server listed a tool; `digest` stands for its definition."""
        self._asking.saw(tool, digest)

    def end_holds(self) -> None:
        """Let no call wait in place for a person any longer: each is told to come back."""
        self._commit.approving.end_holds()

    def permits(self, method: str, caller: Caller) -> bool:
        """True when a message with this method, which is no call, may go on; it is told where policy denies it."""
        bundle = self._decider.bundle
        if bundle.terms.permits(method):
            return True
        mode = bundle.terms.mode(self._mode)
        self._emit(MethodDenied(self.next_id(), self._server, caller, method, mode))
        return mode == "monitor"

    @property
    def filters(self) -> bool:
        """True when the policy in force withholds tools from lists."""
        return bool(self.withheld_by(self._decider.bundle))

    def withheld_by(self, bundle: Bundle) -> tuple[object, ...]:
        """All that decides which tools no list shows under a bundle; empty where lists show every tool."""
        return self._lists.withheld_by(bundle)

    def filter(self, tools: Sequence[str], deliver: DeliverHidden) -> None:
        """Deliver which of the listed tools a client may not see; None when nobody can tell."""
        self._lists.filter(tools, deliver)

    def close(self) -> None:
        """Stop telling a store that is gone what became of calls."""
        self._settling.give_up()

    async def finish(self) -> None:
        """Wait until everything that is under way is done, for `FINISH` at most: each part has a bound of its own."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FINISH):
                while (
                    self._commit.is_due
                    or self._lists.work
                    or self._counters.work
                    or self._settling.work
                    or self._questions.are_open
                ):
                    self._commit.conclude()
                    await self._lists.work.wait()
                    await self._counters.work.wait()
                    await self._settling.work.wait()
                    await self._questions.answered()


def _ids(prefix: str) -> Iterator[str]:
    """The prefix and the numbers from 1 on, in hex digits: two digits behind what 256 ids share cost half as much."""
    yield from map(prefix.__add__, [f"{number:x}" for number in range(1, 256)])
    ends = [f"{number:02x}" for number in range(256)]
    for block in itertools.count(1):
        yield from map(f"{prefix}{block:x}".__add__, ends)
