"""The ledger in one SQLite file, shared by any number of processes on this machine.

One transaction a claim, in WAL mode: what is committed survives the death of every process (`synchronous=NORMAL`
leaves out the wait for the disk; after a power cut the last claims may be gone). Totals are decimal text, summed in
Python: exact, whatever their size.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

from sidecar.errors import StoreUnavailable
from sidecar.ledger.values import (
    Amount,
    Claim,
    Claimed,
    Counter,
    Entry,
    Exhausted,
    Reservation,
    add,
    amount,
    subtract,
    window_start,
)

PATIENCE: Final = 2.0
"""Seconds that a claim waits for other processes before the store counts as unavailable."""

KEPT: Final = 2
"""Windows that are kept behind the present one, so that a late refund still finds its own."""

SWEEP: Final = 600.0
"""Seconds after which a claim removes the old windows of every counter: most holders, as sessions, never come back."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (
    counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL, start INTEGER NOT NULL, total TEXT NOT NULL,
    PRIMARY KEY (counter, holder, window, start)
) WITHOUT ROWID
"""
_TOTAL = "SELECT total FROM counters WHERE counter = ? AND holder = ? AND window = ? AND start = ?"
_STORE = (
    "INSERT INTO counters VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (counter, holder, window, start) DO UPDATE SET total = excluded.total"
)
_FORGET_OLDER = "DELETE FROM counters WHERE counter = ? AND holder = ? AND window = ? AND start < ?"
_FORGET_ALL_OLD = "DELETE FROM counters WHERE start + window * ? < ?"

_Result = TypeVar("_Result")


class SqliteLedger:
    """Counters in the file `path`; `clock` gives Unix seconds.

    A claim is tried at once on the caller's thread; when another process holds the file, a thread of our own waits
    for it, so that nobody else does.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        try:
            with ExitStack() as opened:
                self._hasty = _Connection(path, patience=0.0)
                opened.callback(self._hasty.close)
                self._patient = _Connection(path, patience=PATIENCE)
                opened.callback(self._patient.close)
                self._patient.run(lambda db: db.execute(_SCHEMA))
                self._swept = clock()
                self._patient.run(lambda db: _forget_all_old(db, self._swept))
                opened.pop_all()
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot use {path} as the store of counters: {error}") from None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")

    def claim_at_once(self, wanted: Sequence[tuple[Reservation, ...]]) -> list[Claimed | StoreUnavailable] | None:
        return self._at_once(lambda db: self._claim(db, wanted))

    async def claim(self, reservations: tuple[Reservation, ...]) -> Claimed:
        (claimed,) = await self._wait(lambda db: self._claim(db, (reservations,)))
        if isinstance(claimed, StoreUnavailable):
            raise claimed
        return claimed

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        return await self._wait(lambda db: _totals(db, counters, self._clock()))

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        return self._at_once(lambda db: _give_back(db, entries)) is not None

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        await self._wait(lambda db: _give_back(db, entries))

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._patient.close)
        self._thread.shutdown(wait=False)
        self._hasty.close()

    def _claim(
        self, db: sqlite3.Connection, wanted: Sequence[tuple[Reservation, ...]]
    ) -> list[Claimed | StoreUnavailable]:
        now = self._clock()
        if now - self._swept >= SWEEP:
            self._swept = now
            _forget_all_old(db, now)
        return _claim(db, wanted, now)

    def _at_once(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result | None:
        try:
            return self._hasty.run(work)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                return None
            raise _unavailable(error) from None
        except sqlite3.Error as error:
            raise _unavailable(error) from None

    async def _wait(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._patient.run, work)
        except sqlite3.Error as error:
            raise _unavailable(error) from None


_Key: TypeAlias = tuple[str, str, int, int]


def _claim(
    db: sqlite3.Connection, wanted: Sequence[tuple[Reservation, ...]], now: float
) -> list[Claimed | StoreUnavailable]:
    # Many reservations may be on one counter, so each total is looked up once, carried on, and stored once.
    totals: dict[_Key, Amount] = {}
    taken: set[_Key] = set()
    claimed: list[Claimed | StoreUnavailable] = []
    for reservations in wanted:
        try:
            one = _claim_one(db, reservations, now, totals)
        except StoreUnavailable as error:  # a counter of this call is damaged; the others' are not
            claimed.append(error)
            continue
        if isinstance(one, Claim):
            taken.update(map(_key, one.entries))
        claimed.append(one)
    for key in taken:
        db.execute(_STORE, (*key, str(totals[key])))
    return claimed


def _claim_one(
    db: sqlite3.Connection, reservations: tuple[Reservation, ...], now: float, totals: dict[_Key, Amount]
) -> Claimed:
    """What one call takes, all or nothing; `totals` holds where the counters stand, and is changed."""
    entries = tuple([Entry(wanted, window_start(now, wanted.window)) for wanted in reservations])
    after: dict[_Key, Amount] = {}
    left: list[Amount] = []
    for position, entry in enumerate(entries):
        key, wanted = _key(entry), entry.reservation
        if key not in totals:
            totals[key] = _total(db, key) or _begin(db, key)
        after[key] = add(after.get(key, totals[key]), wanted.amount)
        if not wanted.admits(after[key]):
            return Exhausted(position, max(1, round(entry.start + wanted.window - now)))
        left.append(after[key])
    totals.update(after)
    return Claim(entries, tuple(left))


def _key(entry: Entry) -> _Key:
    taken = entry.reservation
    return taken.counter, taken.holder, taken.window, entry.start


def _forget_all_old(db: sqlite3.Connection, now: float) -> None:
    db.execute(_FORGET_ALL_OLD, (KEPT + 1, int(now)))


def _totals(db: sqlite3.Connection, counters: tuple[Counter, ...], now: float) -> tuple[Amount, ...]:
    keys = ((one.counter, one.holder, one.window, window_start(now, one.window)) for one in counters)
    return tuple(_total(db, key) for key in keys)


def _give_back(db: sqlite3.Connection, entries: tuple[Entry, ...]) -> bool:
    for entry in entries:
        key = _key(entry)
        # A window that is gone needs nothing back, and no other window may get it.
        total = _total(db, key)
        if total:
            db.execute(_STORE, (*key, str(max(0, subtract(total, entry.reservation.amount)))))
    return True


def _total(db: sqlite3.Connection, key: _Key) -> Amount:
    row = db.execute(_TOTAL, key).fetchone()
    return amount(row[0]) if row else 0


def _begin(db: sqlite3.Connection, key: _Key) -> Amount:
    """A counter at 0: often the first in its window, when the windows long gone can be forgotten."""
    counter, holder, window, start = key
    db.execute(_FORGET_OLDER, (counter, holder, window, start - KEPT * window))
    return 0


class _Connection:
    """One connection, used by one thread at a time; `patience` is how many seconds it waits for other processes."""

    def __init__(self, path: Path, patience: float) -> None:
        self._db = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(f"PRAGMA busy_timeout = {int(patience * 1000)}")
        except sqlite3.Error:
            self._db.close()
            raise

    def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """Do `work` in one transaction: all of it, or nothing."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            result = work(db)
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
        return result

    def close(self) -> None:
        self._db.close()


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(f"the store of counters cannot be used: {error}")
