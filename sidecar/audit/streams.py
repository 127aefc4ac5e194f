"""Where audit lines go that is no file: standard output or error, a pipe that somebody made. None of them can block."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import IO


def pipe(path: Path) -> IO[bytes]:
    """What is at `path`, open for writing. Raises OSError, also where it is a pipe that nobody reads.

    A pipe whose reader is stuck counts as a full disk.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    return os.fdopen(descriptor, "ab", buffering=0)


def standard(descriptor: int) -> IO[bytes]:
    """Standard output or error, open for writing without blocking."""
    if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        # Opened anew, so that it stays blocking for everybody else who has it, our own log included.
        with contextlib.suppress(OSError):
            return os.fdopen(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK), "wb", buffering=0)
    return open(descriptor, "wb", buffering=0, closefd=False)
