"""Where audit lines go that is no file: standard output or error, a pipe that somebody made. None of them can block."""

from __future__ import annotations

import contextlib
import io
import os
import select
import socket
import stat
from pathlib import Path
from typing import IO, TypeAlias

Stream: TypeAlias = IO[bytes] | io.RawIOBase
"""Unbuffered, open for writing."""


def pipe(path: Path) -> Stream:
    """What is at `path`, open for writing. Raises OSError, also where it is a pipe that nobody reads.

    A pipe whose reader is stuck counts as a full disk.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return os.fdopen(descriptor, "ab", buffering=0)


def standard(descriptor: int) -> Stream:
    """Standard output or error, open for writing without blocking."""
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return open(descriptor, "wb", buffering=0, closefd=False)
    if not stat.S_ISSOCK(kind):
        # Opened anew, so that it stays blocking for everybody else who has it, our own log included.
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
            return os.fdopen(os.open(f"/proc/self/fd/{descriptor}", flags), "wb", buffering=0)
    return _Unwaited(descriptor)


class _Unwaited(io.RawIOBase):
    """A descriptor that cannot be opened anew, and stays blocking for others who have it.

    It is a socket, as of the journal, or another user's pipe, as containers have.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = os.dup(descriptor)
        is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        self._socket = socket.socket(fileno=self._descriptor) if is_socket else None
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, data: bytes, /) -> int:  # type: ignore[override] # no more is written here
        """Write what is taken at once. Raises `BlockingIOError` where that is nothing, and OSError."""
        if self._socket is not None:
            return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not self._poll.poll(0):
            raise BlockingIOError
        # So much is taken by whatever is ready.
        return os.write(self._descriptor, data[: select.PIPE_BUF])

    def close(self) -> None:
        """Let go of it; nothing else that has it is closed."""
        if not self.closed:
            super().close()
            if self._socket is not None:
                self._socket.close()
            else:
                os.close(self._descriptor)
