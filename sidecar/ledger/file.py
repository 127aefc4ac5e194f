"""The file of an SQLite store: it is ours alone, used in transactions, and checked to be still the one at its path.

In WAL mode one claim costs two writes and no wait for the disk; a rollback journal takes twice as long, measured. The
price is an index in shared memory, `-shm`: whoever can write it can end us with SIGBUS. So only its owner may, and the
fault handler reports such an end (`serve/app`).
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from sidecar.errors import StoreUnavailable

QUIET: Final = 1.0
"""Seconds after which a new change of a folder certainly gets another ctime: kernels tick every 10 ms at least."""

_Result = TypeVar("_Result")
_Identity: TypeAlias = tuple[int, int] | None


class Connection:
    """One connection, used by one thread at a time; it waits for other processes only after `wait`."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        # Damaged text must be one damaged value, not an error that fails the whole transaction.
        self._db.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            self.wait(2.0)  # another process may be creating the file
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self.wait(0)
        except sqlite3.Error:
            self._db.close()
            raise

    def wait(self, seconds: float) -> None:
        """From now on each transaction waits for other processes for up to `seconds`."""
        self._db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work` in one write transaction: all of it is done, or nothing."""
        return self._transaction("BEGIN IMMEDIATE", work)

    def read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Run `work`, which only reads, on one consistent state of the file; it does not wait for writers."""
        return self._transaction("BEGIN", work)

    def changes(self, statement: str, values: tuple[object, ...]) -> bool:
        """Run one statement, which is a transaction of its own; True if it changed a row."""
        return self._db.execute(statement, values).rowcount > 0

    def close(self) -> None:
        self._db.close()

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        db = self._db
        db.execute(begin)
        try:
            result = work(db)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return result


class OpenedFiles:
    """The files of a store as we opened them, to see whether they are still at their paths.

    A file that was removed or replaced stays open to us, while every process that starts now counts in another one.
    """

    def __init__(self, path: Path) -> None:
        """Note the identities of the files; the store is open."""
        self._path = path
        self._folder = str(path.parent)
        self._opened = self._identities()
        self._quiet: tuple[int, int, int] | None = None

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the files are those that we opened.

        The ctime of a folder changes whenever an entry in it is made, removed or renamed. While it is the same as at
        the last comparison, none is needed. A ctime that is younger than `QUIET` could be that of a later change too.
        """
        try:
            folder = os.stat(self._folder)  # noqa: PTH116 - a microsecond of every call that is counted
        except OSError as error:
            raise self._gone() from error
        seen = (folder.st_ctime_ns, folder.st_ino, folder.st_dev)
        if seen == self._quiet:
            return
        if self._identities() != self._opened:
            raise self._gone()
        self._quiet = seen if time.time() - folder.st_ctime > QUIET else None

    def _identities(self) -> tuple[_Identity, ...]:
        return tuple(_identity(file) for file in _files(self._path))

    def _gone(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self._path} was removed or replaced while it was in use: put it back, or start the sidecar again to"
            " count from what is there now"
        )


def secure(path: Path) -> None:
    """Create the file if there is none; only we may read it and what SQLite puts beside it. Raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(0, "it is no plain file")
    # SQLite gives the files that it creates the mode of the main one.
    for file in _files(path):
        with suppress(FileNotFoundError):
            if stat.S_IMODE(file.stat().st_mode) != 0o600:
                file.chmod(0o600)


def _files(path: Path) -> tuple[Path, ...]:
    return path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")


def _identity(file: Path) -> _Identity:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
