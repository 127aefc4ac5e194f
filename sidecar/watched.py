"""A small file that is used again and again and changes seldom: read once, and again when it changed.

It is looked at when it is used. Symlinks are followed at every look, so the way in which Kubernetes replaces mounted
Secrets and ConfigMaps is a change like any other.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOOK: Final = 0.25
"""Seconds between two looks."""
_SETTLED_NS: Final = 1_000_000_000
"""A file is read again until it is this old: two writes within one tick of the file system's clock look the same."""


class Unreadable(Exception):
    """The file gives no content. The text says why and holds none of it."""


class WatchedFile:
    """The content of `path`, at most `limit` bytes, whenever it is another than before."""

    def __init__(self, path: Path, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._limit = limit
        self._clock = clock
        self._looked = -LOOK
        self._seen: tuple[int, ...] | None = None
        self._digest: bytes | None = None
        self._problem: str | None = None

    def changed(self) -> bytes | None:
        """The content, if it is another than at the last call; None if it is the same or it is too early to look.

        Raises `Unreadable` when there is none, once for each reason until there is one again.
        """
        now = self._clock()
        if now - self._looked < LOOK:
            return None
        self._looked = now
        try:
            return self._look()
        except OSError as error:
            problem = f"{self.path} cannot be read: {error.strerror}"
        except Unreadable as error:
            problem = f"{self.path} {error}"
        self._seen = self._digest = None
        if problem == self._problem:
            return None
        self._problem = problem
        raise Unreadable(problem)

    def _look(self) -> bytes | None:
        found = os.stat(self.path)  # noqa: PTH116 - half the cost, and this is on the way of every request
        if not stat.S_ISREG(found.st_mode):
            raise Unreadable("is no regular file")
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen:
            return None
        with self.path.open("rb") as file:
            content = file.read(self._limit + 1)
        if len(content) > self._limit:
            raise Unreadable(f"is larger than {self._limit} bytes")
        self._seen = seen if time.time_ns() - found.st_mtime_ns > _SETTLED_NS else None
        self._problem = None
        digest = hashlib.sha256(content).digest()
        if digest == self._digest:
            return None
        self._digest = digest
        return content
