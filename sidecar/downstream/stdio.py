"""A client on our standard input and output, one message a line."""

from __future__ import annotations

import asyncio
import os
import select
import stat
import threading
from collections.abc import Callable
from typing import IO, Any, Final

from sidecar.system import flow
from sidecar.system.lines import LineReader, LineWriter, TooLong

HIGH_WATER: Final = 1 << 20
"""Bytes that may wait for a slow client before nothing more is read from anyone."""
_LOOK_SECONDS: Final = 0.002


class StdioClient:
    """The client at the other end of two pipes.

    `send` never waits; `full` is called with True when the client does not keep up, and with False when it does
    again. `gone` is called once, when the client closed either pipe.
    """

    def __init__(self, limit: int, full: Callable[[bool], None], gone: Callable[[], None]) -> None:
        self._limit = limit
        self._full = full
        self._gone = gone
        self._in: asyncio.ReadTransport | None = None
        self._out: asyncio.WriteTransport | None = None
        self._out_done: asyncio.Future[None] | None = None
        self._is_gone = False
        self.reads = True
        """Whether the client still has its reading end open."""
        self._unread = select.poll()
        self._lines = LineWriter(asyncio.get_running_loop().call_soon, self._write)

    async def open(self, stdin: IO[Any], stdout: IO[Any], received: Callable[[bytes | TooLong], None]) -> None:
        """Begin to read and write; each line goes to `received`."""
        loop = asyncio.get_running_loop()
        self._out_done = loop.create_future()
        self._out, _ = await loop.connect_write_pipe(lambda: _Output(self), _pipe_to(stdout))
        self._out.set_write_buffer_limits(high=HIGH_WATER)
        source = _pipe_from(stdin)
        self._unread.register(source, select.POLLIN)
        self._in, _ = await loop.connect_read_pipe(lambda: _Input(self, received), source)

    def send(self, message: bytes) -> None:
        """Write one message."""
        self._lines.send(message)

    @property
    def unread(self) -> int:
        """Bytes that wait for the client."""
        return self._out.get_write_buffer_size() if self._out is not None and not self._out.is_closing() else 0

    def pause(self, stop: bool) -> None:
        """Read nothing more from the client, or go on."""
        flow.pause(self._in, stop)

    async def catch_up(self, seconds: float) -> None:
        """Read what the client has written so far, for that long at the most."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while loop.time() < until:
            if self._is_gone or not self._unread.poll(0):
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def close(self, seconds: float) -> None:
        """Write out what waits, for that long at the most, and close both pipes."""
        if self._in is not None:
            self._in.close()
        if self._out is None or self._out_done is None:
            return
        self._lines.flush()
        self._out.close()  # closes once the buffer is empty
        _, late = await asyncio.wait([self._out_done], timeout=seconds)
        if late:
            self._out.abort()

    def _write(self, data: bytes) -> None:
        if self._out is not None and not self._out.is_closing():
            self._out.write(data)

    def _ended(self) -> None:
        if not self._is_gone:
            self._is_gone = True
            self._gone()


class _Input(asyncio.Protocol):
    def __init__(self, client: StdioClient, received: Callable[[bytes | TooLong], None]) -> None:
        self._client = client
        self._received = received
        self._lines = LineReader(client._limit)

    def data_received(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._received(line)

    def eof_received(self) -> None:
        for line in self._lines.finish():
            self._received(line)
        self._client._ended()

    def connection_lost(self, error: Exception | None) -> None:
        self._client._ended()


class _Output(asyncio.BaseProtocol):
    def __init__(self, client: StdioClient) -> None:
        self._client = client

    def pause_writing(self) -> None:
        self._client._full(True)

    def resume_writing(self) -> None:
        self._client._full(False)

    def connection_lost(self, error: Exception | None) -> None:
        done = self._client._out_done
        if done is not None and not done.done():
            done.set_result(None)
        self._client.reads = False
        self._client._ended()


# An event loop can wait for pipes and sockets only; a file or a terminal gets a thread that copies.


def _pipe_from(source: IO[Any]) -> IO[Any]:
    if _can_wait(source):
        return source
    reading, writing = os.pipe()
    threading.Thread(target=_copy, args=(source.fileno(), writing), daemon=True).start()
    return os.fdopen(reading, "rb", buffering=0)


def _pipe_to(target: IO[Any]) -> IO[Any]:
    if _can_wait(target):
        return target
    reading, writing = os.pipe()
    threading.Thread(target=_copy, args=(reading, target.fileno()), daemon=True).start()
    return os.fdopen(writing, "wb", buffering=0)


def _can_wait(stream: IO[Any]) -> bool:
    mode = os.fstat(stream.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _copy(source: int, target: int) -> None:
    try:
        while data := os.read(source, 1 << 16):
            while data:
                data = data[os.write(target, data) :]
    except OSError:
        return  # one of the two is closed: the other end learns it from the pipe
    finally:
        os.close(target)
