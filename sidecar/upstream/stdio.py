"""A server that is our child: messages on its standard input and output, one a line; its error
stream goes into our log.

It is over when its process ends, and when it closes its output or its input: nobody could speak with it any more. Then
whatever is left of it is ended, the programs that it started included.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Batch, Outgoing, Request
from sidecar.mcp.tool_call import Outcome
from sidecar.system import children, flow, tasks
from sidecar.system.guardian import Guardian
from sidecar.system.intake import Intake
from sidecar.system.lines import LineReader, LineWriter, TooLong
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget, Share
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import Sparing
from sidecar.upstream import error_stream
from sidecar.upstream.busypoll import BusyPoll
from sidecar.upstream.error_stream import ErrorStream
from sidecar.upstream.failure import Failure, NotConnected, Told, untold
from sidecar.upstream.link import Full, Received, Unanswered

HIGH_WATER: Final = 256 << 10
"""Bytes that may wait for a slow server before nothing more is read from the client."""
ENDED: Final = Failure("the MCP server ended before it got this", Outcome.NOT_RUN, "ended")


def check(command: Sequence[str]) -> None:
    """Raise `NotConnected` where the program certainly cannot be started."""
    try:
        children.find(command[0])
    except OSError as error:
        raise _cannot_start(command, error) from None


class ChildServer(asyncio.SubprocessProtocol):
    """The server `command`. It is started, and said nothing and heard nothing until `begin`.

    `send` never waits; `full` is called with True when the server does not keep up, and with False when it does again.
    `told` hears of an end that the server chose itself.
    """

    cause = "ended"

    def __init__(
        self, limit: int, guardian: Guardian, room: MemoryBudget, told: Told = untold, lines: Sparing | None = None
    ) -> None:
        loop = asyncio.get_running_loop()
        self._logged = lines or error_stream.sparing()
        self._told = told
        self._guardian = guardian
        self._is_stopped = True
        """Whoever gets what it says does not keep up."""
        self._unwritten = Share(room)
        self._most_unread = _UNREAD * limit
        self._is_full = False
        self._lines = LineReader(limit)
        self._intake = Intake(room, limit, self._pace, self._lines.give_up)
        self._out = LineWriter(loop.call_soon, self._write)
        self._poll = BusyPoll(loop.call_soon)
        self._early: list[bytes | TooLong] = []
        """What it wrote before `begin`: a read under way when we paused brings it, and its end does."""
        self._early_size = 0
        self._received: Callable[[bytes | TooLong], None] = self._keep
        self._full: Full = _nobody
        self._unanswered: Unanswered = lambda id_, failure: None
        self._exited: asyncio.Future[int] = loop.create_future()
        self._drained, self._said_all = asyncio.Event(), asyncio.Event()
        self._ending: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[int] = loop.create_future()

    _transport: asyncio.SubprocessTransport
    _errors: ErrorStream

    @classmethod
    async def start(
        cls, command: Sequence[str], limit: int, guardian: Guardian, room: MemoryBudget | None = None,
        told: Told = untold, lines: Sparing | None = None,
    ) -> ChildServer:  # fmt: skip
        """Start the program, of which `guardian` hears. Raises `NotConnected` when that fails.

        `lines` bounds what is logged of its error stream, together with that of others who have it too.
        """
        server = cls(limit, guardian, room or MemoryBudget(DEFAULT_BUDGET), told, lines)
        try:
            await children.start(
                lambda: server, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise _cannot_start(command, error) from None
        return server

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        """Begin to read: each line that the server writes goes to `received`.

        `unanswered` hears of what could not be written because the server was over.
        """
        self._full, self._unanswered = full, unanswered
        if self._early:
            # Not now: whoever begins is told nothing before this returns.
            asyncio.get_running_loop().call_soon(self._hear, received)
        else:
            self._received = received
        self.pause(False)

    def send(self, message: Outgoing) -> None:
        """Write one message."""
        self._out.send(message.raw)

    def pause(self, stop: bool) -> None:
        """Read nothing more from the server, or go on."""
        self._is_stopped = stop
        self._pace()

    async def ended(self) -> int:
        """Wait for the end of all of it, and for the last of what it wrote; its exit status as a shell shows it."""
        return await asyncio.shield(self._ended)

    async def stop(self, ask: bool) -> int:
        """End the server: close its input, then SIGTERM (at once with `ask`), then SIGKILL; its exit status.

        That is 0 where it needed SIGTERM after its input was closed, and heeded it.
        Done within 1.7 s, so that a client which allows 2 s sees us end by ourselves.
        """
        self._end("", ask=ask)
        return await self.ended()

    def close(self) -> None:
        """Let go of it; whatever of it still runs is killed."""
        if not self._ended.done():
            children.signal_group(self._transport.get_pid(), signal.SIGKILL)
            self._guardian.release(self._transport.get_pid())
        if self._ending is not None:
            self._ending.cancel()
        self._transport.close()
        self._intake.close()
        self._over(children.exit_status(-signal.SIGKILL))

    def _keep(self, line: bytes | TooLong) -> None:
        self._early.append(line)
        self._early_size += len(line)
        if self._early_size > HIGH_WATER:
            self._pace()

    def _hear(self, received: Received) -> None:
        self._received = received
        early, self._early, self._early_size = self._early, [], 0
        for line in early:
            received(line)
        self._pace()

    # Its end.

    def _end(self, how: str, *, ask: bool = False) -> None:
        """It is over, in a way that it chose itself where one is named."""
        if self._ending is None:
            self._ending = tasks.start(self._end_all(how, ask=ask))

    async def _end_all(self, how: str, *, ask: bool) -> None:
        group = self._transport.get_pid()
        self._out.flush()
        if (pipe := self._pipe(0)) is not None:
            pipe.close()
        self.pause(False)
        was_killed = False
        # What outlives its leader has no input that it would wait for.
        if ask or not await self._is_gone_within(0 if self._exited.done() else _EOF_SECONDS):
            if how and not self._exited.done():
                log.warning(
                    "the MCP server %s and lives on: it is ended", how, extra=fields("server_lives_on", pid=group)
                )
            children.signal_group(group, signal.SIGTERM)
            if not await self._is_gone_within(_TERM_SECONDS):
                was_killed = not self._exited.done()
                children.signal_group(group, signal.SIGKILL)
        returncode = await self._exited
        self._guardian.release(group)
        # A program that left the group may hold the pipes open: then what was written so far has to do.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._drained.wait()
                await self._said_all.wait()
        for line in self._lines.finish():
            self._received(line)
        self._intake.close()
        ended = children.how_it_ended(returncode) + (": it did not heed SIGTERM" if was_killed else "")
        unseen = self._errors.finish()
        if how or was_killed:
            for said in unseen:
                # Where it failed this is the reason, so it is shown wherever the end is.
                level = logging.ERROR if returncode else logging.WARNING
                log.log(level, "server: %s", said, extra=fields("server_stderr", pid=group))
        if how:
            self._told(Failure(f"the MCP server {ended}", Outcome.UNKNOWN, "ended"))
        else:
            level = logging.WARNING if was_killed else logging.DEBUG
            log.log(level, "the MCP server %s", ended, extra=fields("server_ended", pid=group, cause=ended))
        # The client left, and a server that waits for nothing more was told to end: that it did is no failure.
        heeded = not how and not ask and returncode == -signal.SIGTERM
        self._over(0 if heeded else children.exit_status(returncode))

    def _over(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    async def _is_gone_within(self, seconds: float) -> bool:
        """Wait for the end of the process and of all that it started."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        await asyncio.wait([self._exited], timeout=seconds)
        while True:
            if self._exited.done() and children.is_gone(self._transport.get_pid()):
                return True
            if loop.time() >= until:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    def _pace(self, _: bool = False) -> None:
        # Once it is ending, what it wrote is read to the end: that is bounded in time, and nobody waits for it. Before
        # `begin` nobody stops us who does not keep up, so what is kept until then is bounded here.
        is_kept = self._early_size > HIGH_WATER
        flow.pause(self._pipe(1), self._is_stopped or is_kept or (self._intake.waits and self._ending is None))

    def _count_unwritten(self) -> None:
        pipe = self._pipe(0)
        is_over = pipe is None or pipe.is_closing()
        self._unwritten.hold(pipe.get_write_buffer_size() if self._is_full and not is_over else 0)

    def _write(self, data: bytes) -> None:
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)
            self._poll.begin()
            if self._is_full:
                self._count_unwritten()
            if self._is_full and pipe.get_write_buffer_size() > self._most_unread:
                # Clients were told to stop long before: these are our answers to a server that only talks.
                pipe.abort()
                self._end("does not read what it is sent")
        else:
            self._give_back(data)

    def _give_back(self, data: bytes) -> None:
        """Nobody reads these messages: the requests among them certainly did not run."""
        for line in filter(None, data.split(b"\n")):
            read = jsonrpc.read(line)
            for one in read.elements if isinstance(read, Batch) else (read,):
                assert not isinstance(one, InvalidMessage)  # what is sent was read before
                if isinstance(one, Request):
                    self._unanswered(one.id, ENDED)

    def _pipe(self, fd: int) -> Any:
        return self._transport.get_pipe_transport(fd)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's are no subclasses
        self._guardian.watch(self._transport.get_pid())
        self._errors = ErrorStream(self._transport.get_pid(), self._logged)
        pipe = self._pipe(0)
        if not pipe.is_closing():  # or it is over already
            pipe.set_write_buffer_limits(high=HIGH_WATER)
        self.pause(True)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 2:
            self._errors.feed(data)
            return
        self._poll.end()
        for line in self._lines.feed(data):
            self._received(line)
        self._intake.holds(self._lines.held)

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        if fd == 2:
            self._said_all.set()
            return
        if fd == 1:
            self._drained.set()
        else:
            self._unwritten.hold(0)
        self._end("closed its output" if fd == 1 else "closed its input")

    def process_exited(self) -> None:
        returncode = self._transport.get_returncode()
        self._exited.set_result(returncode if returncode is not None else 1)
        self._end("ended")

    def pause_writing(self) -> None:
        self._is_full = True
        self._count_unwritten()
        self._full(True)

    def resume_writing(self) -> None:
        self._is_full = False
        self._count_unwritten()
        self._full(False)


def _cannot_start(command: Sequence[str], error: OSError) -> NotConnected:
    text = f"cannot start the MCP server {command[0]!r}: {error.strerror}{_hint(command[0], error.errno)}"
    return NotConnected(Failure(text, Outcome.NOT_RUN, "ended"))


def _hint(program: str, number: int | None) -> str:
    """What to do about a program that is not found, where that is likely not to be known."""
    if number != errno.ENOENT:
        return ""
    if shutil.which(program) is not None:
        return "; the file is there, so what its first line names is not"
    if any(map(str.isspace, program)):
        return "; write the program and each argument as words of their own, not as one in quotes"
    if "/" not in program:
        return "; no folder of the PATH has it: install it, or write its absolute path"
    if program.startswith("/"):
        return ""
    return "; it is looked for from where the sidecar was started: write its absolute path"


_UNREAD = 4
"""So many messages of the greatest length may wait for a server that does not read."""
_EOF_SECONDS = 0.7
_TERM_SECONDS = 0.6
_DRAIN_SECONDS = 0.3
_LOOK_SECONDS = 0.01


def _nobody(_: Any) -> None:
    """Nobody listens yet."""
