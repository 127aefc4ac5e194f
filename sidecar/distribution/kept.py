"""The last good bundle on the disk, so that a sidecar can start while its source cannot be reached.

It is kept as it was fetched, with its signature, and trusted no more than what is fetched: at the next start it has to
be admitted again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from pathlib import Path
from typing import Final

from sidecar.distribution.source import MAX_SIZE
from sidecar.system import files

FOLDER: Final = "bundles"
MOST: Final = 4
"""Bundles that are looked at when one begins."""
FORGOTTEN: Final = 3600.0
"""Seconds after which a draft belongs to nobody: whoever wrote it was killed."""


class Kept:
    """The bundles of one server in the state folder: the last one that was put in force, and any that is about to be.

    A bundle is staged before its serial is noted as admitted, and committed afterwards: whenever the process is killed,
    one that is there is good. Sidecars of one server may share the folder: each content has a file of its own, so that
    none is in the way of another.
    """

    def __init__(self, state_dir: Path, server: str) -> None:
        self._name = hashlib.sha256(server.encode()).hexdigest()[:32]
        self._folder = state_dir / FOLDER
        self._file = re.compile(rf"{self._name}\.([0-9]{{1,16}})\.[0-9a-f]{{32}}\.tar\.gz")

    def candidates(self) -> list[bytes]:
        """What is there, the highest serial first."""
        found = (files.find(path, MAX_SIZE).content for _, path in self._there()[:MOST])
        return [content.data for content in found if content is not None]

    def stage(self, serial: int, data: bytes) -> bool:
        """Have a bundle on the disk that is about to be admitted; True if it was not there. Raises OSError."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._path(serial, data)
        if (content := files.find(path, MAX_SIZE).content) is not None and content.data == data:
            return False
        draft = self._folder / f"{self._name}.{secrets.token_hex(8)}.draft"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            _remove(draft)
            raise
        return True

    def commit(self, serial: int, data: bytes) -> None:
        """A staged bundle is the last good one. Raises OSError."""
        self.stage(serial, data)  # another sidecar may have dropped it
        for lower, path in self._there():
            if lower < serial:
                _remove(path)
        for draft in self._folder.glob(f"{self._name}.*.draft"):
            if (stamp := files.stamp(draft)) is not None and time.time() - stamp[3] / 1e9 > FORGOTTEN:
                _remove(draft)

    def drop(self, serial: int, data: bytes) -> None:
        """A staged bundle is not to be put in force."""
        _remove(self._path(serial, data))

    def _path(self, serial: int, data: bytes) -> Path:
        return self._folder / f"{self._name}.{serial}.{hashlib.sha256(data).hexdigest()[:32]}.tar.gz"

    def _there(self) -> list[tuple[int, Path]]:
        """Serials and files, the highest first."""
        try:
            names = os.listdir(self._folder)  # noqa: PTH208 - names are all that is needed
        except OSError:
            return []
        found = ((self._file.fullmatch(name), name) for name in names)
        return sorted(((int(match[1]), self._folder / name) for match, name in found if match), reverse=True)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
