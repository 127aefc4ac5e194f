"""Temporary folders that only we may enter. Those that a killed process left behind are removed later."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.errors import StartError

PREFIX: Final = "intercept-run-"
LONGEST: Final = 107 - len(f"/{PREFIX}12345678/longest.sock")
"""The longest path (in bytes) of a folder to make ours in: Linux bounds the path of a socket, which must fit below."""


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder, with a path short enough for a socket in it, for the length of a `with`. Raises `StartError`."""
    where = _place()
    try:
        path, lock = _locked(where)
    except OSError as error:
        raise StartError(f"cannot make a folder in {where}: {error.strerror}; name another with TMPDIR") from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def sweep() -> None:
    """Remove the folders whose process was killed."""
    with contextlib.suppress(OSError), os.scandir(_place()) as found:
        for entry in found:
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                _remove_unused(entry)


def _place() -> Path:
    # Python 3.11 leaves a "." as it is, and our OPA runs in a working directory of its own.
    given = Path(tempfile.gettempdir()).absolute()
    if len(os.fsencode(given)) <= LONGEST:
        return given
    for name in (os.environ.get("XDG_RUNTIME_DIR", ""), "/tmp", "/var/tmp"):  # noqa: S108 - ours has its own name there
        other = Path(name)
        # The specification: a path in the variable that is not absolute is to be ignored.
        if other.is_absolute() and len(os.fsencode(other)) <= LONGEST and os.access(other, os.W_OK | os.X_OK):
            return other
    raise StartError(
        f"{given} is too long a path for a socket in it, and no shorter folder can be written: name one with TMPDIR"
    )


def _locked(where: Path) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=where))
        lock = _try_lock(path)
        # Another process that sweeps may have been faster, and removes it.
        if lock is not None and path.is_dir():
            return path, lock
        if lock is not None:
            os.close(lock)


def _remove_unused(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if entry.stat(follow_symlinks=False).st_uid != os.geteuid():
            return
        lock = _try_lock(entry.path)
        if lock is not None:
            shutil.rmtree(entry.path, ignore_errors=True)
            os.close(lock)


def _try_lock(path: str | Path) -> int | None:
    """A lock on a folder, which lasts as long as its descriptor; None if somebody has it, or the folder is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
