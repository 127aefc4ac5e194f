"""A disk of a test that is full until it is not."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small_disk(folder: Path) -> Iterator[tuple[Callable[[], None], Callable[[], None]]]:
    """Make `folder` the root of a small file system; what fills it, and what frees it again.

    Only root may do so. For other users a limit on the size of files stands in, which is refused as late in a write.
    """
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )  # fmt: skip
    if mounted.returncode == 0:
        try:
            yield lambda: _fill(folder / "filler"), (folder / "filler").unlink
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max((file.stat().st_size for file in folder.iterdir()), default=0)
    try:
        yield (
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (largest + 100, hard)),
            lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _fill(path: Path) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        for size in (4096, 1):
            while True:
                try:
                    os.write(file, b"x" * size)
                except OSError:
                    break
    finally:
        os.close(file)
