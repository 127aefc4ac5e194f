"""A whole candidate policy in shadow: it is asked about each live call after the verdict, and decides nothing.

On the path of a call a decision is only put into a list. What is there is written to the process of the candidate
(`process`) a little later, in portions, and only while its pipe takes more; what finds no room is counted as
skipped. So a candidate that is slow, hangs or is dead costs a live call the same as one that is not: nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, cast

import msgspec

from sidecar.auth.caller import Caller
from sidecar.engine import environment
from sidecar.events import (
    CandidateBegan,
    CandidateCompared,
    CandidateFailed,
    CandidateNotAsked,
    Decided,
    Emit,
    EngineReady,
    Handlers,
)
from sidecar.mcp.strict_json import encode
from sidecar.policy.rule_index import RuleIndex
from sidecar.rehearsal.outcome import said_by_policy
from sidecar.rehearsal.shadow import talk
from sidecar.rehearsal.shadow.talk import Asked, Begin, Begun, Compared, NotJudged, Told, Trouble, Who
from sidecar.system import children, tasks
from sidecar.system.memory import held

MAX_CALLS: Final = 1_000
MAX_BYTES: Final = 4 << 20
"""Calls that wait for the candidate, and bytes that they take: more are skipped."""
PORTION: Final = 50
"""Calls that are written in one go: that takes a fraction of a millisecond, in which nothing else is done."""
PAUSE: Final = 0.05
"""Seconds between two portions: at most a thousand calls a second are compared, to leave the processor to others."""
FIRST_REST: Final = 1.0
LONGEST_REST: Final = 60.0
LASTED: Final = 60.0
"""Seconds before the process is started again: doubled each time, unless it lasted that long."""
STOP_SECONDS: Final = 1.0

_MAIN: Final = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from sidecar.rehearsal.shadow.process import main; main()"
)


class Candidate:
    """The candidate policy at `path`, asked about the calls of `server`. It hears of decisions, and tells of its own.

    It runs from `start` until `stop`.
    """

    def __init__(self, path: Path, opa: Path, server: str, workload: Mapping[str, str]) -> None:
        self._begin = Begin(str(path.absolute()), str(opa.absolute()), server, dict(workload))
        self._server = server
        self._waiting: deque[Decided] = deque()
        self._bytes = 0
        self._skipped = 0
        self._is_due = False
        self._rules: RuleIndex | None = None
        self._emit: Emit = lambda _: None
        self._process: _Process | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.handlers: Handlers = {Decided: self._decided, EngineReady: self._engine_ready}

    def start(self, emit: Emit) -> None:
        """Start asking the candidate; `emit` gets what becomes of it."""
        self._emit = emit
        self._keeping = tasks.lasting(self._keep)

    async def stop(self) -> None:
        """End its process."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait([self._keeping])
        self._emit = lambda _: None

    def _decided(self, event: Decided) -> None:
        size = held(event.call.raw)
        if len(self._waiting) >= MAX_CALLS or self._bytes + size > MAX_BYTES:
            self._skipped += 1
            return
        self._waiting.append(event)
        self._bytes += size
        self._be_due()

    def _engine_ready(self, event: EngineReady) -> None:
        self._rules = RuleIndex(event.terms)

    def _be_due(self) -> None:
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_later(PAUSE, self._pass_on)

    def _pass_on(self) -> None:
        """Write one portion, if the process takes it, and say what was left out."""
        self._is_due = False
        if self._skipped:
            self._emit(CandidateNotAsked(self._server, "skipped", self._skipped))
            self._skipped = 0
        process = self._process
        if process is not None and process.takes_more:
            calls = [self._waiting.popleft() for _ in range(min(PORTION, len(self._waiting)))]
            self._bytes -= sum(held(event.call.raw) for event in calls)
            asked = [one for one in map(_asked, calls) if one is not None]
            if len(asked) < len(calls):
                self._emit(CandidateNotAsked(self._server, "no_policy", len(calls) - len(asked)))
            if asked:
                process.write(talk.frame(asked))
        if self._waiting:
            self._be_due()

    def _heard(self, told: list[Told]) -> None:
        for one in told:
            match one:
                case Begun(revision, facts):
                    self._emit(CandidateBegan(self._server, revision, facts))
                case Trouble(text):
                    self._emit(CandidateFailed(self._server, text))
                case NotJudged(count):
                    self._emit(CandidateNotAsked(self._server, "failed", count))
                case Compared():
                    self._emit(self._compared(one))

    def _compared(self, one: Compared) -> CandidateCompared:
        live = self._rules.find(one.tool, one.live_rule) if self._rules is not None else None
        return CandidateCompared(
            self._server, one.tool, one.live, one.candidate, one.live_rule,
            f"{live.file}:{live.line}" if live is not None else "", one.rule,
            f"{one.file}:{one.line}" if one.file else "", one.decision_id, one.count,
        )  # fmt: skip

    async def _keep(self) -> None:
        """Keep the process running, without end."""
        now, rest = asyncio.get_running_loop().time, FIRST_REST
        while True:
            started = now()
            try:
                how = await self._run()
            except OSError as error:
                how = f"cannot be started: {error.strerror}"
            if now() - started > LASTED:
                rest = FIRST_REST
            self._emit(CandidateFailed(self._server, f"its process {how}; it is started again in {rest:g} s"))
            await asyncio.sleep(rest)
            rest = min(2 * rest, LONGEST_REST)

    async def _run(self) -> str:
        """Run the process until it ends; how it did, in words."""
        process = _Process(self._heard)
        command = [sys.executable, "-I", "-c", _MAIN, json.dumps(sys.path)]
        await children.start(
            lambda: process, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment.passed(),
        )  # fmt: skip
        try:
            process.write(talk.frame(self._begin))
            self._process = process
            return children.how_it_ended(await asyncio.shield(process.ended))
        finally:
            self._process = None
            await process.stop()


def _asked(event: Decided) -> Asked | None:
    """A decided call as it is told; None where no policy decided it."""
    ruling = event.ruling
    live = said_by_policy(ruling.kind, allowed=ruling.allowed, approved=bool(event.approval))
    if live is None:
        return None
    rule = ruling.rule or ("" if live == "allow" else f"({ruling.kind})")
    return Asked(event.call.raw, _who(event.caller), live, rule, ruling.mode == "monitor", event.decision_id)


def _who(caller: Caller) -> Who:
    principal, said = caller.principal, caller.said
    about = None if said is None else (said.shown, said.name, said.version)
    if principal is None:
        return Who(caller.session, caller.client, None, "", b"", about)
    claims = encode(dict(principal.claims))
    return Who(caller.session, caller.client, principal.subject, principal.issuer, claims, about)


class _Process(asyncio.SubprocessProtocol):
    """The pipes of the process; `heard` gets what it tells."""

    _transport: asyncio.SubprocessTransport

    def __init__(self, heard: Callable[[list[Told]], None]) -> None:
        self._heard = heard
        self._frames = talk.Frames()
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def _pipe(self) -> asyncio.WriteTransport:
        return cast("asyncio.WriteTransport", self._transport.get_pipe_transport(0))

    @property
    def takes_more(self) -> bool:
        """True where the kernel has taken all that was written."""
        return not self.ended.done() and not self._pipe.is_closing() and not self._pipe.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        self._pipe.write(data)

    async def stop(self) -> None:
        """Let it end by the end of its input, or end it."""
        self._pipe.close()
        await asyncio.wait([self.ended], timeout=STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            self._transport.kill()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's are no subclasses

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        try:
            for value in self._frames.take(data):
                self._heard(talk.read_told(value))
        except (ValueError, msgspec.MsgspecError):
            self._transport.kill()  # it talks nonsense: it is started again

    def process_exited(self) -> None:
        if not self.ended.done():
            self.ended.set_result(self._transport.get_returncode() or 0)
