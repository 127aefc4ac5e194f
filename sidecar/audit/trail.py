"""Where the lines of the audit log go: a file, standard output or standard error."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from pathlib import Path
from typing import IO

log = logging.getLogger("sidecar")


class Trail:
    """Writes to `stream`, unbuffered."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._is_torn = False

    def close(self) -> None:
        """Nothing more is written."""
        self._stream.close()

    def write(self, lines: list[bytes]) -> None:
        """Write lines, each without its line end. What cannot be written goes to the log."""
        # A line that was cut must not make this one unreadable.
        data = b"\n".join((*([b""] if self._is_torn else []), *lines, b""))
        taken = 0
        try:
            while taken < len(data):
                # A nearly full pipe or disk may take only a part.
                taken += self._written(data[taken:] if taken else data)
        except OSError as error:
            if taken:
                self._is_torn = data[taken - 1 : taken] != b"\n"
            # A line that was cut goes to the log as a whole, unless only its line end is missing.
            begin = data.rfind(b"\n", 0, taken + 1) + 1
            # A full disk must not lose a decision: the operator's log gets it until the file accepts lines again.
            for line in filter(None, data[begin:].decode(errors="replace").split("\n")):
                log.error("cannot write the audit log: %s; the line is %s", error.strerror, line)
        else:
            self._is_torn = False

    def _written(self, data: bytes) -> int:
        """The number of bytes written. Raises OSError if that is none."""
        written = self._stream.write(data)
        if not written:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return written


def opened(path: Path) -> IO[bytes]:
    """The file at `path`, open for appending at the beginning of a line. Raises OSError.

    A pipe whose reader is stuck counts as a full disk; one without a reader is refused.
    """
    # A file that an operator made keeps its mode, so that a log shipper can read it.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY, 0o600)
    stream = os.fdopen(descriptor, "ab", buffering=0)
    if stat.S_ISREG(os.fstat(stream.fileno()).st_mode) and stream.tell():
        # The last writer may have been cut off; without the right to read we cannot see that.
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                stream.write(b"\n")
    return stream


def standard(descriptor: int) -> IO[bytes]:
    """Standard output or error, open for writing without blocking."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        # Opened anew, so that it stays blocking for everybody else who has it, our own log included.
        with contextlib.suppress(OSError):
            return os.fdopen(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
    return open(descriptor, "wb", buffering=0, closefd=False)
