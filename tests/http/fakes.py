"""Both ends of a connection without a network: a transport that a test plays, on a loop whose clock it sets."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable
from typing import Any

TURNS = 4
"""Passes of the loop after which everything that was begun has gone as far as it goes by itself."""


class PlayedLoop(asyncio.SelectorEventLoop):
    """An event loop that runs when it is told to, at a time that the test says. `defects` are what got away."""

    def __init__(self) -> None:
        super().__init__(selectors.PollSelector())
        self.now = 1000.0
        self.defects: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.defects.append(context))

    def time(self) -> float:
        return self.now

    def do(self, step: Callable[[], object] = lambda: None) -> None:
        """Have the loop do something, and what comes of it."""

        async def turns() -> None:
            step()
            for _ in range(TURNS):
                await asyncio.sleep(0)

        self.run_until_complete(turns())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.do()


class PlayedTransport(asyncio.Transport):
    """A transport that keeps what is written; the test says what comes, what is taken, and when it is over."""

    def __init__(self, loop: PlayedLoop, protocol: Any) -> None:
        super().__init__()
        self._loop = loop
        self._protocol = protocol
        self._near, self.far = socket.socketpair()
        self.written = b""
        self.buffered = 0
        """Bytes that were written and are not taken."""
        self.paused = self.closing = self.ended = self.over = False
        protocol.connection_made(self)

    def comes(self, data: bytes) -> None:
        """The other side says something."""
        if not self.closing:
            self._loop.do(lambda: self._protocol.data_received(data))

    def ends(self) -> None:
        """The other side says no more."""
        if not self.closing:
            self._loop.do(self._protocol.eof_received)
            self.close()
            self._loop.do()

    def breaks(self) -> None:
        """The connection is reset."""
        self.abort()
        self._loop.do()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else self

    def setsockopt(self, *_: Any) -> None:
        pass

    def fileno(self) -> int:
        return self._near.fileno()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "written after the end"
        if not self.closing:
            self.written += bytes(data)

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        assert not self.closing, "ended after it was closed"
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.buffered

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        assert not self.paused
        self.paused = True

    def resume_reading(self) -> None:
        assert self.paused
        self.paused = False

    def close(self) -> None:
        self.closing = True
        if not self.buffered:
            self._end()

    def abort(self) -> None:
        self.closing = True
        self._end()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self._loop.call_soon(self._lost)

    def _lost(self) -> None:
        self._protocol.connection_lost(None)
        self._near.close()
        self.far.close()
