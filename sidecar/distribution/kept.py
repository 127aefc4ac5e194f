"""The last good bundle on the disk, so that a sidecar can start while its source cannot be reached.

It is kept as it was fetched, with its signature, and trusted no more than what is fetched: at the next start it has to
be admitted again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import Final

from sidecar.distribution.source import MAX_SIZE
from sidecar.system import files

FOLDER: Final = "bundles"


class Kept:
    """The bundles of one server in the state folder: the last one that was put in force, and one that is about to be.

    A bundle is staged before its serial is noted as admitted, and committed afterwards: whenever the process is killed,
    one of the two is good.
    """

    def __init__(self, state_dir: Path, server: str) -> None:
        name = hashlib.sha256(server.encode()).hexdigest()[:32]
        self._folder = state_dir / FOLDER
        self._last = self._folder / f"{name}.tar.gz"
        self._next = self._folder / f"{name}.next.tar.gz"

    def candidates(self) -> list[bytes]:
        """What is there, the newer first."""
        found = (files.find(path, MAX_SIZE).content for path in (self._next, self._last))
        return [content.data for content in found if content is not None]

    def stage(self, data: bytes) -> None:
        """Write a bundle that is about to be admitted; it is on the disk when this returns. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._next.with_suffix(f".{os.getpid()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._next)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise

    def commit(self) -> None:
        """The staged bundle is the last good one. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):  # another sidecar of this server was faster
            self._next.replace(self._last)

    def drop(self) -> None:
        """The staged bundle is not to be put in force."""
        with contextlib.suppress(OSError):
            self._next.unlink()
