"""Publishes to a directory: a file for each serial, made by a link, and the current one, replaced by a rename."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from sidecar.distribution.destination import Taken
from sidecar.distribution.label import Label
from sidecar.distribution.source import MAX_SIZE
from sidecar.errors import SourceUnavailable
from sidecar.policy.archive import CURRENT
from sidecar.system import files
from sidecar.system.files import Unreadable
from sidecar.text import of_system

LOCK: Final = ".publish.lock"
"""Whoever replaces the current bundle holds it: comparing and renaming are two steps."""
SECONDS: Final = 10.0
"""How long the lock is waited for."""
PAUSE: Final = 0.05


class FolderDestination:
    """Both writes are compare-and-set: the kernel makes a link once, and the lock guards the rename."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.name = of_system(str(folder))

    async def current(self) -> bytes | None:
        """The bundle that sidecars fetch now."""
        return self._read(CURRENT)

    async def of_serial(self, serial: int) -> bytes | None:
        """The bundle that was published under a serial."""
        return self._read(_name(serial))

    async def keep(self, serial: int, data: bytes, label: Label) -> None:
        """Write the bundle of a serial. Raises `Taken` where one is there."""
        with self._translated(), self._written(data) as new:
            try:
                os.link(new, self._folder / _name(serial))
            except FileExistsError:
                raise Taken(f"{self.name}: has serial {serial}") from None
            self._sync()

    async def replace(self, old: bytes | None, data: bytes, label: Label) -> None:
        """Make this the bundle that sidecars fetch. Raises `Taken` where `old` is no longer the current one."""
        with self._translated():
            self._folder.mkdir(parents=True, exist_ok=True)
            with (self._folder / LOCK).open("ab") as lock:
                await self._hold(lock.fileno())
                self._put(old, data)

    async def close(self) -> None:
        """Nothing is open."""

    def _put(self, old: bytes | None, data: bytes) -> None:
        with self._written(data) as new:
            if self._read(CURRENT) != old:
                raise Taken(f"{self.name}: somebody else published")
            new.rename(self._folder / CURRENT)
            self._sync()

    async def _hold(self, lock: int) -> None:
        """Take the lock; it lasts as long as its file is open."""
        for _ in range(int(SECONDS / PAUSE)):
            try:
                return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                await asyncio.sleep(PAUSE)
        raise SourceUnavailable(f"{self.name}: somebody else publishes there, and has held {LOCK} for {SECONDS:.0f} s")

    def _read(self, name: str) -> bytes | None:
        path = self._folder / name
        if not path.exists():
            return None
        try:
            return files.read(path, MAX_SIZE).data
        except Unreadable as error:
            raise SourceUnavailable(f"{of_system(str(path))}: cannot be read: {error}") from None

    @contextmanager
    def _written(self, data: bytes) -> Iterator[Path]:
        """A new file with this content, surely on the disk; it is gone afterwards, unless it was renamed."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._folder, prefix=".publish-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                os.fchmod(descriptor, 0o644)  # sidecars of other users read it, and its signature says whose it is
                file.flush()
                os.fsync(descriptor)
            yield Path(name)
        finally:
            with suppress(FileNotFoundError):
                Path(name).unlink()

    def _sync(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SourceUnavailable(f"{self.name}: cannot be written: {error.strerror}") from None


def _name(serial: int) -> str:
    return f"serial-{serial}.tar.gz"
