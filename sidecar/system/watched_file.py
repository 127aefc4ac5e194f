"""A small file that is used often and changes seldom. It is read when it is used, at most a few times a second.

Each look reads the content. A stamp does not prove that it is the same: clocks are set back, and their ticks are long.
Symlinks are followed at every look, so it sees when Kubernetes replaces a mounted Secret or ConfigMap.

Each look runs in a thread, because a file system may stop answering. Usually it takes microseconds, so the caller waits
for it: for a moment, and only once, however long the look takes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.system import files
from sidecar.system.files import Unreadable

LOOK: Final = 0.25
"""Seconds between two looks."""
AGE: Final = 1.0
"""Seconds for which the last content is used while a look takes longer. After that there is none."""
MOMENT: Final = 0.1
"""Seconds that the caller waits for a look: everything else waits too."""
AT_FIRST: Final = 5.0
"""The same for the first look, when nothing runs yet."""


class WatchedFile:
    """Tells the content of `path`, at most `limit` bytes, whenever it changed."""

    def __init__(self, path: Path, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._limit = limit
        self._clock = clock
        self._looked: float | None = None
        self._under_way: _Look | None = None
        self._digest: bytes | None = None
        self._problem: str | None = None

    def changed(self) -> bytes | None:
        """The content if it changed since the last call; None if it did not, or if it is too early to look again.

        Raises `Unreadable` if there is none, once for each reason until there is one again.
        """
        now = self._clock()
        if self._is_younger(LOOK, now):
            return None
        try:
            content = self._look(now)
        except Unreadable as error:
            problem = f"{self.path} cannot be read: {error}"
            self._digest = None
            if problem == self._problem:
                return None
            self._problem = problem
            raise Unreadable(problem) from None
        if content is None:
            return None
        self._problem = None
        digest = hashlib.sha256(content).digest()  # only the digest is kept: the content may be secret
        if digest == self._digest:
            return None
        self._digest = digest
        return content

    def _is_younger(self, age: float, now: float) -> bool:
        return self._looked is not None and now - self._looked < age

    def _look(self, now: float) -> bytes | None:
        """The content of the file; None while a look takes long and the last content is still used."""
        look = self._under_way
        if look is None or (look.done.is_set() and now - look.begun >= AGE):
            look = self._under_way = _Look(now)
            look.start(self._whole, AT_FIRST if self._looked is None else MOMENT)
        if not look.done.is_set():
            if self._is_younger(AGE, now):
                return None
            raise Unreadable("its file system does not answer")
        self._under_way, self._looked = None, look.begun
        if isinstance(look.found, Unreadable):
            raise look.found
        return look.found

    def _whole(self) -> bytes:
        content = files.read(self.path, self._limit)
        if content.open_for_writing:
            # A file may be half written, and half a token is another, weaker one.
            raise Unreadable("somebody still has it open for writing")
        return content.data


class _Look:
    """One look at a file: when it began, and what it found once it is done."""

    def __init__(self, begun: float) -> None:
        self.begun = begun
        self.done = threading.Event()
        self.found: bytes | Unreadable = b""

    def start(self, read: Callable[[], bytes], seconds: float) -> None:
        """Begin the look, and wait for it for up to `seconds`."""

        def run() -> None:
            try:
                self.found = read()
            except Unreadable as error:
                self.found = error
            except Exception as error:  # noqa: BLE001 - otherwise the look would never be done
                self.found = Unreadable(repr(error))
            self.done.set()

        try:
            threading.Thread(target=run, daemon=True).start()
        except RuntimeError:
            self.found = Unreadable("no thread can be started: a limit of processes or memory is reached")
            self.done.set()
        self.done.wait(seconds)
