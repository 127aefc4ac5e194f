"""The file of an SQLite store: ours alone, used in transactions, and still the one that stands at its path.

In WAL mode, so that one claim costs two writes and no wait for the disk; measured, a rollback journal takes twice as
long. The price is an index in shared memory, `-shm`: whoever may write it can end us with SIGBUS, so it is nobody's but
the owner's, and the fault handler has the last word (`app`).
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
"""Seconds after which a change of a folder cannot have the time of another one: kernels tick every 10 ms at least."""

_Result = TypeVar("_Result")
_Identity: TypeAlias = tuple[int, int] | None


class Connection:
    """One connection, used by one thread at a time; it does not wait for other processes unless it is told to."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        # Damaged text is a damaged value for whoever reads it, and no error of all that is done in the transaction.
        self._db.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            self.wait(2.0)  # for whoever makes the file at the same time
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self.wait(0)
        except sqlite3.Error:
            self._db.close()
            raise

    def wait(self, seconds: float) -> None:
        """Wait so long for other processes from now on, in each transaction."""
        self._db.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")

    def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do `work` in one transaction: all of it, or nothing."""
        return self._transaction("BEGIN IMMEDIATE", work)

    def read(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do `work`, which only looks, at one state of the file; nobody who writes is in its way."""
        return self._transaction("BEGIN", work)

    def changes(self, statement: str, values: tuple[object, ...]) -> bool:
        """Run one statement, which is a transaction of its own; True when it changed something."""
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
    """Where the files of a store stand, and whether they are still those that we opened.

    One that was removed or replaced is open to us still, and anybody who starts now counts in another.
    """

    def __init__(self, path: Path) -> None:
        """Note the files as they are; the store is open."""
        self._path = path
        self._folder = str(path.parent)
        self._opened = self._identities()
        self._quiet: tuple[int, int, int] | None = None

    def check(self) -> None:
        """Raise `StoreUnavailable` unless the files are those that we opened.

        The kernel notes when an entry of a folder was last made, removed or renamed. While that is what it was when the
        files were looked at, they need no look; but a time that is still young could be that of a later change too.
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
    """Make the file where there is none, and keep it and what SQLite puts beside it to ourselves. Raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if not stat.S_ISREG(path.lstat().st_mode):
        raise OSError(0, "it is no plain file")
    # SQLite gives what it makes the rights of the file itself.
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
