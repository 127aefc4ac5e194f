"""A server that is our child: messages on its standard input and output, one a line; its error stream is ours."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from sidecar import children
from sidecar.errors import StartError
from sidecar.framing import LineReader, LineWriter
from sidecar.upstream.busypoll import BusyPoll
from sidecar.upstream.link import Full, Received, Unanswered

HIGH_WATER: Final = 1 << 20
"""Bytes that may wait for a slow server before nothing more is read from the client."""


class ChildServer(asyncio.SubprocessProtocol):
    """The server `command`. It is started, and said nothing and heard nothing until `begin`.

    `send` never waits; `full` is called with True when the server does not keep up, and with False when it does again.
    """

    def __init__(self, limit: int) -> None:
        loop = asyncio.get_running_loop()
        self._lines = LineReader(limit)
        self._out = LineWriter(loop.call_soon, self._write)
        self._poll = BusyPoll(loop.call_soon)
        self._received: Received = _nobody
        self._full: Full = _nobody
        self._ended: asyncio.Future[int] = loop.create_future()
        self._drained = asyncio.Event()

    _transport: asyncio.SubprocessTransport

    @classmethod
    async def start(cls, command: Sequence[str], limit: int) -> ChildServer:
        """Start the program. Raises `StartError` when that fails."""
        server = cls(limit)
        try:
            await children.start(lambda: server, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None)
        except OSError as error:
            raise StartError(f"cannot start the MCP server {command[0]!r}: {error.strerror}") from None
        return server

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        """Begin to read: each line that the server writes goes to `received`. Only its end leaves one unanswered."""
        self._received, self._full = received, full
        self.pause(False)

    def send(self, message: bytes) -> None:
        """Write one message."""
        self._out.send(message)

    def pause(self, stop: bool) -> None:
        """Read nothing more from the server, or go on."""
        pipe = self._pipe(1)
        if pipe is not None and not pipe.is_closing():
            (pipe.pause_reading if stop else pipe.resume_reading)()

    async def ended(self) -> int:
        """Wait for the end of the process, and for the last of what it wrote; its exit status as a shell shows it."""
        status = await asyncio.shield(self._ended)
        # Its own children may hold the pipe open: then what was written so far has to do.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self._drained.wait()
        return status

    async def stop(self, ask: bool) -> int:
        """End the server: close its input, then SIGTERM (at once with `ask`), then SIGKILL; its exit status.

        Done within 1.7 s, so that a client which allows 2 s sees us end by ourselves.
        """
        self._out.flush()
        if (pipe := self._pipe(0)) is not None:
            pipe.close()
        self.pause(False)
        if ask or not await self._ends_within(_EOF_SECONDS):
            self._signal(self._transport.terminate)
            if not await self._ends_within(_TERM_SECONDS):
                self._signal(self._transport.kill)
        return await self.ended()

    def close(self) -> None:
        """Let go of it; whatever of it still runs is killed."""
        if not self._ended.done():
            self._signal(self._transport.kill)
        self._transport.close()

    async def _ends_within(self, seconds: float) -> bool:
        await asyncio.wait([self._ended], timeout=seconds)
        return self._ended.done()

    def _write(self, data: bytes) -> None:
        pipe = self._pipe(0)
        if pipe is not None and not pipe.is_closing():
            pipe.write(data)
            self._poll.begin()

    def _signal(self, send: Callable[[], None]) -> None:
        with contextlib.suppress(ProcessLookupError):
            send()

    def _pipe(self, fd: int) -> Any:
        return self._transport.get_pipe_transport(fd)

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)  # uvloop's are no subclasses
        self._pipe(0).set_write_buffer_limits(high=HIGH_WATER)
        self.pause(True)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._poll.end()
        for line in self._lines.feed(data):
            self._received(line)

    def pipe_connection_lost(self, fd: int, error: Exception | None) -> None:
        if fd == 1:
            self._drained.set()

    def process_exited(self) -> None:
        returncode = self._transport.get_returncode()
        self._ended.set_result(children.exit_status(returncode if returncode is not None else 1))

    def pause_writing(self) -> None:
        self._full(True)

    def resume_writing(self) -> None:
        self._full(False)


_EOF_SECONDS = 0.7
_TERM_SECONDS = 0.6
_DRAIN_SECONDS = 0.3


def _nobody(_: Any) -> None:
    """Nobody listens yet."""
