"""The way to an SQLite store: at once on the caller's thread, or waiting on a thread of its own. No tables.

What cannot be done at once, since another process holds the file, is done by a thread that waits for it: the event
loop never does. What reads much has a second thread, so that nobody who waits for a claim waits for that.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock
from typing import Final, TypeAlias, TypeVar

from sidecar.errors import StoreUnavailable
from sidecar.ledger.file import Connection, OpenedFiles, secure

PATIENCE: Final = 2.0
"""Seconds from the moment that something is asked for until the store counts as unavailable."""

GRACE: Final = 0.5
"""Seconds beyond that for a thread that the disk holds up."""

_Result = TypeVar("_Result")
Work: TypeAlias = Callable[[sqlite3.Connection], _Result]
"""What is done in one transaction."""


class Access:
    """The file `path`; `begin` is done first. Raises `StoreUnavailable`, as all of it does, if it cannot be used."""

    def __init__(self, path: Path, begin: Work[None]) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._reader: tuple[Connection, ThreadPoolExecutor] | None = None
        try:
            secure(path)
            with ExitStack() as opened:
                self.hasty = Connection(path)
                opened.callback(self.hasty.close)
                self._patient = Connection(path)
                opened.callback(self._patient.close)
                self._patient.wait(PATIENCE)
                self._patient.run(begin)
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
                # Started now: later, when somebody has to wait, the system might give us no thread.
                self._thread.submit(_nothing)
                opened.pop_all()
        except (sqlite3.Error, OSError, RuntimeError, StoreUnavailable) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StoreUnavailable(f"cannot use {path} as the store of counters: {why}") from None
        self._files = OpenedFiles(path)

    async def do(self, work: Work[_Result]) -> _Result:
        """Do in one write transaction, at once or else by waiting."""
        done = self.at_once(lambda: (self.hasty.run(work),))
        return done[0] if done is not None else await self.wait(work)

    async def read(self, work: Work[_Result]) -> _Result:
        """Read a little from one state of the file, at once or else by waiting."""
        done = self.at_once(lambda: (self.hasty.read(work),))
        return done[0] if done is not None else await self.wait(work)

    def at_once(self, work: Callable[[], _Result]) -> _Result | None:
        """The result of `work`, which uses `hasty`; None, and nothing is done, where another holds the file."""
        try:
            result = work()
        except sqlite3.OperationalError as error:
            # Errors that the module raises itself, as for text that it cannot decode, have no code.
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise _unavailable(error) from None
        except sqlite3.Error as error:
            raise _unavailable(error) from None
        # Afterwards: what was done in a file that had been removed does not count.
        self._files.check()
        return result

    async def wait(
        self, work: Work[_Result], too_late: Callable[[sqlite3.Connection, _Result], object] = lambda *_: None,
        lasts: Callable[[_Result], bool] = lambda _: False,
    ) -> _Result:  # fmt: skip
        """Do in one write transaction, and wait for others for `PATIENCE` at most.

        What a disk holds up is done after whoever waited was told that it cannot be; `too_late` undoes that. A result
        that `lasts` is on the disk before anybody hears of it: no power cut takes it back.
        """
        deadline = time.monotonic() + PATIENCE
        handover = _Handover()

        def run() -> _Result:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._patient.wait(left)
            result = self._patient.run(work)
            unwritten = self._unwritten() if lasts(result) else None
            if not handover.done() or unwritten is not None:
                self._patient.run(lambda db: too_late(db, result))
            if unwritten is not None:
                raise unwritten
            self._files.check()
            return result

        return await self._bounded(self._thread, run, handover)

    def _unwritten(self) -> StoreUnavailable | None:
        """Have all that was committed written to the disk; gives why it cannot be.

        That is the log: what is in the file itself was written there before SQLite began the log anew.
        """
        try:
            log = os.open(self._log, os.O_RDWR)
            try:
                os.fsync(log)
            finally:
                os.close(log)
        except OSError as error:
            return StoreUnavailable(f"the store of counters cannot be used: {error.strerror}")
        return None

    async def look(self, work: Work[_Result]) -> _Result:
        """Read much from one state of the file, on a thread."""
        if self._reader is None:
            try:
                self._reader = Connection(self._path), ThreadPoolExecutor(1, thread_name_prefix="ledger-reader")
            except sqlite3.Error as error:
                raise _unavailable(error) from None
        reader, thread = self._reader

        def run() -> _Result:
            result = reader.read(work)
            self._files.check()
            return result

        return await self._bounded(thread, run, _Handover())

    async def close(self) -> None:
        """Close the file."""
        with suppress(TimeoutError):  # a disk that holds up a thread holds up nobody else
            async with asyncio.timeout(GRACE):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._patient.close)
                if self._reader is not None:
                    await asyncio.get_running_loop().run_in_executor(self._reader[1], self._reader[0].close)
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._reader is not None:
            self._reader[1].shutdown(wait=False, cancel_futures=True)
        self.hasty.close()

    async def _bounded(
        self, thread: ThreadPoolExecutor, run: Callable[[], _Result], handover: _Handover
    ) -> _Result:  # fmt: skip
        try:
            doing = asyncio.get_running_loop().run_in_executor(thread, run)
            doing.add_done_callback(_heard)  # whoever gave up does not hear how it ended
            try:
                await asyncio.wait([doing], timeout=PATIENCE + GRACE)
            finally:
                given_up = not doing.done() and handover.give_up()
                if given_up:
                    doing.cancel()
            if given_up:
                raise TimeoutError
            return await doing
        except sqlite3.Error as error:
            raise _unavailable(error) from None
        except TimeoutError:
            raise StoreUnavailable(
                f"the store of counters cannot be used: others held it up for {PATIENCE:g} s"
            ) from None
        except RuntimeError as error:  # the system gives us no thread
            raise StoreUnavailable(f"the store of counters cannot be used: {error}") from None


class _Handover:
    """Either the thread has done it, or whoever waited has given up: both know which of the two."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._given_up = False
        self._is_done = False

    def done(self) -> bool:
        """It is done; False where nobody waits any more."""
        with self._lock:
            self._is_done = not self._given_up
            return self._is_done

    def give_up(self) -> bool:
        """Nobody waits any more; False where it is done already."""
        with self._lock:
            self._given_up = not self._is_done
            return self._given_up


def _heard(doing: asyncio.Future[_Result]) -> None:
    if not doing.cancelled():
        doing.exception()


def _nothing() -> None:
    pass


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(f"the store of counters cannot be used: {error}")
