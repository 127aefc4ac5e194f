"""Calls judged as a running sidecar judges them, and sent nowhere.

It is the same way as that of a live call: the message is read strictly, the gate asks a real OPA, and what the call
reserves is claimed from a store. Only nothing is forwarded, nobody hears of it, and the time is told from outside.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sidecar.auth.caller import Caller
from sidecar.decision.decider import Decider
from sidecar.decision.decision import Violation
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Reply, Verdict
from sidecar.engine.local import still_engine
from sidecar.errors import InvalidMessage
from sidecar.events import ApprovalChanged, Decided, Event
from sidecar.ledger import names
from sidecar.ledger.approvals import Asked
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Reservation
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Response
from sidecar.mcp.protocol import TOOLS_CALL
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import ToolCall, read_call
from sidecar.policy.bundle import Bundle
from sidecar.policy.rule_index import RuleIndex
from sidecar.policy.terms import CounterRead
from sidecar.system import temporary_folders

Action: TypeAlias = Literal["allow", "deny", "approval"]
"""What becomes of a call: it passes, it is refused, or a person is asked."""

TIMEOUT: Final = 30.0
"""Seconds for one decision: a machine that is busy with tests is no reason to refuse."""
BEGIN: Final = 1_735_689_600.0
"""The time until another is told, in Unix seconds: no window ends just then but the longest."""
_NOBODY: Final = Caller("rehearsal")
_ASKS: Final = ("approval_required", "approvals_full")
"""Nobody answers here, so in the end too many calls wait; the policy asks a person about them all the same."""
_MOST_REQUESTS: Final = 1_000
"""Requests that are remembered: as many may wait by default, and what became of older ones nobody asks."""


class Request(msgspec.Struct, frozen=True):
    """What people are asked for: how many have to agree, within so many seconds, and to what beyond the one call.

    `grant` is None for nothing beyond it, else for how long, how many calls, and which paths are the same or no more.
    """

    approvers: int
    timeout: int
    grant: tuple[int, int, tuple[str, ...], tuple[str, ...]] | None = None


class Judgement(msgspec.Struct, frozen=True):
    """What would have become of a call. `rule` stands at `file` and `line`, empty and 0 where no rule decided.

    `violations` are all that rules had to say, those of rules that only report included. `forwarded` is True where the
    call would have reached the server, which in monitor mode it does whatever is decided. `told` is the text for the
    agent, empty where there is none, and `code` that of the JSON-RPC error that carries it, 0 where none does.
    `request` is what people are asked for, None where nobody is.
    """

    action: Action
    kind: str
    rule: str
    reason: str
    file: str
    line: int
    violations: tuple[Violation, ...]
    forwarded: bool
    told: str = ""
    code: int = 0
    request: Request | None = None


class Rehearsal:
    """Judges calls of one server under one policy, whose counters and approvals begin empty."""

    def __init__(self, decider: Decider, server: str, folder: Path, workload: Mapping[str, str]) -> None:
        self.now = BEGIN
        """The time of the next call, in Unix seconds. It may only rise until all is forgotten."""
        self._decider = decider
        self._rules = RuleIndex(decider.bundle.terms)
        self._server = server
        self._folder = folder
        self._workload = workload
        self._ids = itertools.count(1)
        self._told: Decided | None = None
        self._begin()

    @property
    def bundle(self) -> Bundle:
        """The policy that judges."""
        return self._decider.bundle

    async def judge(self, tool: str, arguments: Mapping[str, Any], caller: Caller = _NOBODY) -> Judgement:
        """What becomes of one call; what it takes from counters stays taken. Calls are judged one after the other.

        `arguments` are JSON values, numbers also as `msgspec.Raw` tokens.
        """
        params = {"name": tool, "arguments": arguments}
        line = encode({"jsonrpc": "2.0", "id": next(self._ids), "method": TOOLS_CALL, "params": params})
        try:
            request = jsonrpc.read(line)
            assert isinstance(request, jsonrpc.Request)  # it has a method and an id
            call = read_call(request)
        except InvalidMessage as error:
            return _refused(error)
        return await self.judge_call(call, caller)

    async def judge_call(self, call: ToolCall, caller: Caller) -> Judgement:
        """The same for a call that was read already."""
        found: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._told = None
        try:
            self._gate.judge(call, caller, found.set_result, may_hold=False)
        except InvalidMessage as error:
            return _refused(error)
        return self._judgement(call.tool, await found)

    async def count(self, tool: str, taken: Sequence[tuple[CounterRead, Amount]], caller: Caller = _NOBODY) -> None:
        """Count on counters as calls of a tool would that were forwarded now. What nobody holds counts nothing."""
        server = names.of_server(self._server)
        reservations = []
        for counter, amount in taken:
            holder = caller.holder(counter.scope)
            if holder is not None:
                name = names.of_tool(counter.counter, tool) if counter.each_tool else counter.counter
                reservations.append(
                    Reservation(server + name, holder, counter.window, amount, None, sliding=counter.sliding)
                )
        if reservations:
            await self._ledger.claim(tuple(reservations))

    async def forget(self, now: float = BEGIN, workload: Mapping[str, str] | None = None) -> None:
        """Begin again, with counters at 0 and no approvals, at the time `now`; `workload` is where the sidecar is then.

        Where none is given it stays where it is.
        """
        await self._end()
        self.now = now
        if workload is not None:
            self._workload = workload
        self._begin()

    async def close(self) -> None:
        """Drop the counters."""
        await self._end()

    def _begin(self) -> None:
        self._requests: dict[str, Request] = {}
        self._ledger = SqliteLedger(self._folder / f"{next(self._ids)}.db", lambda: self.now, lambda: self.now)
        self._gate = Gate(
            server=self._server, instance="rehearsal", decider=self._decider, ledger=self._ledger, emit=self._hear,
            key=b"rehearsal", workload=self._workload, clock=lambda: self.now,
        )  # fmt: skip

    async def _end(self) -> None:
        await self._gate.finish()
        self._gate.close()
        await self._ledger.close()
        for file in self._folder.glob("*.db*"):
            file.unlink()

    def _hear(self, event: Event) -> None:
        if isinstance(event, Decided):
            self._told = event
        elif isinstance(event, ApprovalChanged):
            if len(self._requests) >= _MOST_REQUESTS:
                self._requests.clear()
            self._requests[event.record.id] = _request(event.record.asked)

    def _judgement(self, tool: str, verdict: Verdict) -> Judgement:
        assert self._told is not None  # every verdict is told before it is delivered
        ruling = self._told.ruling
        action: Action = "allow" if ruling.allowed else "approval" if ruling.kind in _ASKS else "deny"
        place = self._rules.find(tool, ruling.rule)
        file, line = (place.file, place.line) if place is not None else ("", 0)
        told, code = _answer(verdict.message) if isinstance(verdict, Reply) else ("", 0)
        return Judgement(
            action, ruling.kind, ruling.rule, ruling.reason, file, line, ruling.violations,
            forwarded=ruling.allowed or ruling.mode == "monitor", told=told, code=code,
            request=self._requests.get(self._told.approval),
        )  # fmt: skip


def _request(asked: Asked) -> Request:
    grant = asked.grant
    if grant is None:
        return Request(asked.approvers, asked.timeout)
    same, at_most = (tuple(path for path, _ in values) for values in (grant.same, grant.at_most))
    return Request(asked.approvers, asked.timeout, (grant.seconds, grant.calls, same, at_most))


def _answer(answer: Response) -> tuple[str, int]:
    """The text in an answer of ours, and the code of its JSON-RPC error, 0 for the result of a tool."""
    if answer.error is not None:
        return answer.error["message"], answer.error["code"]
    return answer.result["content"][0]["text"], 0


@asynccontextmanager
async def rehearsal(
    bundle: Bundle, opa: Path, *, server: str = "rehearsal", workload: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> AsyncIterator[Rehearsal]:  # fmt: skip
    """A rehearsal under `bundle` with an OPA of its own, for the length of a `with`. Raises `StartError`."""
    running = still_engine(
        opa, bundle, server=server, timeout=timeout, emit=lambda _: None, said=lambda _: None
    )  # fmt: skip
    with temporary_folders.folder() as folder:
        async with running as engine:
            judging = Rehearsal(engine, server, folder, workload or {})
            try:
                yield judging
            finally:
                await judging.close()


def _refused(error: InvalidMessage) -> Judgement:
    """A call that cannot be read strictly, or not be put as a question."""
    text = str(error)
    return Judgement("deny", "invalid_request", "", text, "", 0, (), forwarded=False, told=text, code=error.code)
