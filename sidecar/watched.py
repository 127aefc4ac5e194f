"""A small file that is used again and again and changes seldom: read when it is used, a few times a second at most.

Each look reads it. No stamp of a file proves that its content is the same: clocks are set back, and their ticks are
long. Symlinks are followed at every look, so the way in which Kubernetes replaces mounted Secrets and ConfigMaps is a
change like any other.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar import files
from sidecar.files import Unreadable

LOOK: Final = 0.25
"""Seconds between two looks."""


class WatchedFile:
    """The content of `path`, at most `limit` bytes, whenever it is another than before."""

    def __init__(self, path: Path, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._limit = limit
        self._clock = clock
        self._looked = -LOOK
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
            content = self._whole()
        except Unreadable as error:
            problem = f"{self.path} cannot be read: {error}"
            self._digest = None
            if problem == self._problem:
                return None
            self._problem = problem
            raise Unreadable(problem) from None
        self._problem = None
        digest = hashlib.sha256(content).digest()  # what it holds may be secret, so it is not kept
        if digest == self._digest:
            return None
        self._digest = digest
        return content

    def _whole(self) -> bytes:
        content = files.read(self.path, self._limit)
        if content.open_for_writing:
            # Half a token is another, weaker one.
            raise Unreadable("somebody still has it open for writing")
        return content.data
