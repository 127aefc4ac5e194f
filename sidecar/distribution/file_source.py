"""A bundle in a file, or in the directory that `sidecar policy publish` writes. Its tag is the hash of its content."""

from __future__ import annotations

import asyncio
import errno
import hashlib
from pathlib import Path
from typing import Final

from sidecar.distribution.source import MAX_SIZE, Fetched
from sidecar.errors import BundleRefused, NothingPublished, SourceUnavailable
from sidecar.policy.archive import CURRENT
from sidecar.system import files, tasks
from sidecar.system.files import Content, Unreadable
from sidecar.text import of_system

SECONDS: Final = 10.0
"""How long a look at a file may take: a network's file system may stop answering."""


class FileSource:
    """Reads the whole file at each look: a stamp does not prove that the content is the same."""

    waits = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self._look: asyncio.Task[Fetched] | None = None
        self.name = of_system(str(path))

    async def fetch(self, known: str) -> Fetched | None:
        """The bundle that is there now; None where it is the one with the tag `known`."""
        # One look at a time: of a file system that stopped answering, each look would keep a thread for ever.
        look = self._look or asyncio.get_running_loop().create_task(tasks.in_thread(self._fetched))
        self._look = look
        done, _ = await asyncio.wait({look}, timeout=SECONDS)
        if not done:
            raise SourceUnavailable(f"{self.name}: its file system does not answer")
        self._look = None
        try:
            found = look.result()
        except OSError as error:
            raise SourceUnavailable(f"{self.name}: {error.strerror or error}") from None
        return None if found.tag == known else found

    async def close(self) -> None:
        """Give up the look that is under way."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
            self._look = None

    def _fetched(self) -> Fetched:
        content = self._content()
        if content.open_for_writing:
            raise SourceUnavailable(f"{self.name}: somebody still has it open for writing")
        return Fetched(content.data, tag_of(content.data))

    def _content(self) -> Content:
        path = self._path / CURRENT if self._path.is_dir() else self._path
        try:
            size = path.stat().st_size
            if size > MAX_SIZE:
                raise BundleRefused("too_large", too_large(self.name))
            return files.read(path, MAX_SIZE)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise NothingPublished(
                    f"{self.name}: no bundle is there: write one with `sidecar policy publish FILE.tar.gz {self.name}`"
                ) from None
            raise SourceUnavailable(f"{self.name}: cannot be read: {error.strerror}") from None
        except Unreadable as error:
            raise SourceUnavailable(f"{self.name}: cannot be read: {error}") from None


def tag_of(data: bytes) -> str:
    """The hash of a content, as registries write it."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def too_large(name: str) -> str:
    """What is said of a bundle beyond the bound."""
    return f"{name}: the bundle is larger than {MAX_SIZE >> 20} MiB"
