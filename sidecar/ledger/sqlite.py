"""The ledger in one SQLite file, shared by any number of processes on this machine.

One transaction a claim: what is committed survives the death of every process (`synchronous=NORMAL` leaves out the
wait for the disk; after a power cut the last claims may be gone). Totals are decimal text, summed in Python: exact,
whatever their size.

Most claims are on one counter that no other process has changed since we did. Such a claim is optimistic: one UPDATE
that succeeds only if the total is still the one that we last wrote. If it is not, the claim runs as a transaction; so
does every claim on a counter that slides, whose total is in many rows.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, TypeVar

from sidecar.errors import StoreUnavailable
from sidecar.ledger import batch, sliding
from sidecar.ledger.batch import Claims, Key, key_now, key_of
from sidecar.ledger.file import Connection, OpenedFiles, secure
from sidecar.ledger.names import carried_over
from sidecar.ledger.protocol import NOTHING_SEEN, Claimed, Taken
from sidecar.ledger.sweep import Sweep
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen, add, amount, subtract

PATIENCE: Final = 2.0
"""Seconds from the moment that something is asked for until the store counts as unavailable."""

GRACE: Final = 0.5
"""Seconds beyond that for a thread that the disk holds up."""

MAX_LAST_TOTALS: Final = 1_000
"""Cached totals; the cache is cleared when it reaches this size."""

SWEEP: Final = 600.0
"""Seconds between two sweeps of windows long over: most holders, as sessions, never come back."""

_LAYOUT: Final = 1
"""The layout of counters' names, kept as the file's `user_version`; 0 is from before servers' names were encoded."""

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
_CHANGE = "UPDATE counters SET total = ? WHERE counter = ? AND holder = ? AND window = ? AND start = ? AND total = ?"
_ALL = "SELECT counter, holder, window, start, total FROM counters"

_SLICES = "SELECT slice, total FROM slices WHERE counter = ? AND holder = ? AND window = ? AND slice >= ?"
_STORE_SLICE = (
    "INSERT INTO slices VALUES (?, ?, ?, ?, ?, NULL)"
    " ON CONFLICT (counter, holder, window, slice) DO UPDATE SET total = excluded.total, lived = NULL"
)
_SLICE = "SELECT total FROM slices WHERE counter = ? AND holder = ? AND window = ? AND slice = ?"

_Result = TypeVar("_Result")


class SqliteLedger:
    """Counters in the file `path`; `clock` gives Unix seconds, `monotonic` those that nobody sets.

    A claim is tried at once on the caller's thread. If another process holds the file, a thread of our own waits for
    it: the event loop never does.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:  # fmt: skip
        self._clock = clock
        self._monotonic = monotonic
        try:
            secure(path)
            with ExitStack() as opened:
                self._hasty = Connection(path)
                opened.callback(self._hasty.close)
                self._patient = Connection(path)
                opened.callback(self._patient.close)
                self._patient.wait(PATIENCE)
                self._sweep = self._patient.run(self._begin)
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
                # Started now: later, when somebody has to wait, the system might give us no thread.
                self._thread.submit(_nothing)
                opened.pop_all()
        except (sqlite3.Error, OSError, RuntimeError, StoreUnavailable) as error:
            why = error.strerror if isinstance(error, OSError) else error
            raise StoreUnavailable(f"cannot use {path} as the store of counters: {why}") from None
        self._files = OpenedFiles(path)
        self._last_totals: dict[Key, Amount] = {}

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN
    ) -> list[Taken] | None:
        def claim() -> Claims:
            optimistic = None if seen else self._claim_optimistically(wanted)
            return optimistic or self._hasty.run(lambda db: self._claim(db, wanted, seen))

        if (done := self._at_once(claim)) is None:
            return None
        claimed, changed = done
        if len(self._last_totals) >= MAX_LAST_TOTALS:
            self._last_totals.clear()
        self._last_totals.update((key, total) for key, total in changed.items() if not key.sliding)
        return claimed

    async def claim(self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = ()) -> Claimed:
        (claimed,), _ = await self._wait(lambda db: self._claim(db, (reservations,), {0: seen}))
        if isinstance(claimed, StoreUnavailable):
            raise claimed
        return claimed

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        def look(db: sqlite3.Connection) -> tuple[Amount, ...]:
            return _totals(db, counters, self._clock())

        found = self._at_once(lambda: self._hasty.read(look))
        return found if found is not None else await self._wait(look)

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        return self._at_once(lambda: self._hasty.run(lambda db: _give_back(db, entries))) is not None

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        await self._wait(lambda db: _give_back(db, entries))

    async def close(self) -> None:
        with suppress(TimeoutError):  # a disk that holds up the thread holds up nobody else
            async with asyncio.timeout(GRACE):
                await asyncio.get_running_loop().run_in_executor(self._thread, self._patient.close)
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._hasty.close()

    def _begin(self, db: sqlite3.Connection) -> Sweep:
        """Make the table if there is none, bring counters' names up to date, and remove old windows."""
        db.execute(_SCHEMA)
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            _carry_over(db)
            db.execute(f"PRAGMA user_version = {_LAYOUT}")
        self._swept = self._monotonic()
        return Sweep(db, self._swept)

    def _claim(
        self, db: sqlite3.Connection, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]]
    ) -> Claims:  # fmt: skip
        now, monotonic = self._clock(), self._monotonic()
        if monotonic - self._swept >= SWEEP:
            self._sweep.work(db, now, monotonic)
            self._swept = monotonic
        stand = _Stand(db)
        claimed, changed = batch.claims(wanted, seen, now, stand)
        for key, total in changed.items():
            if key.sliding:
                db.execute(_STORE_SLICE, (*key[:4], str(stand.in_slice(key, total))))
            else:
                db.execute(_STORE, (*key[:4], str(total)))
        return claimed, changed

    def _claim_optimistically(self, wanted: Sequence[tuple[Reservation, ...]]) -> Claims | None:
        """Claim on one counter by one UPDATE, which succeeds only if the total is still the one that we last wrote.

        None means that the claim has to run as a transaction.
        """
        now = self._clock()
        if self._monotonic() - self._swept >= SWEEP:
            return None
        assumed = _Assumed(self._last_totals)
        try:
            claimed, changed = batch.claims(wanted, NOTHING_SEEN, now, assumed)
        except KeyError:
            return None
        # The UPDATE checks a single counter. A claim that reads a second one cannot be verified this way.
        if len(assumed.totals) != 1 or not changed:
            return None
        ((key, before),) = assumed.totals.items()
        held = self._hasty.changes(_CHANGE, (str(changed[key]), *key[:4], str(before)))
        return (claimed, changed) if held else None

    def _at_once(self, work: Callable[[], _Result]) -> _Result | None:
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

    async def _wait(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        deadline = time.monotonic() + PATIENCE

        def run() -> _Result:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._patient.wait(left)
            result = self._patient.run(work)
            self._files.check()
            return result

        try:
            async with asyncio.timeout(PATIENCE + GRACE):
                return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except sqlite3.Error as error:
            raise _unavailable(error) from None
        except TimeoutError:
            raise StoreUnavailable(
                f"the store of counters cannot be used: others held it up for {PATIENCE:g} s"
            ) from None


class _Assumed:
    """Where counters stand if nobody changed them since; KeyError for one that is not known, and for one that slides.

    What slides is never known: its total is in many rows, and falls while nobody does anything.
    """

    def __init__(self, last: Mapping[Key, Amount]) -> None:
        self.totals: dict[Key, Amount] = {}
        self._last = last

    def total(self, key: Key) -> Amount:
        self.totals[key] = self._last[key]
        return self.totals[key]

    def slices(self, key: Key) -> Mapping[int, Amount]:
        raise KeyError(key)


class _Stand:
    """Where counters stand, in one transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._slices: dict[Key, dict[int, Amount]] = {}

    def total(self, key: Key) -> Amount:
        return sliding.total(self.slices(key)) if key.sliding else _total(self._db, key[:4])

    def slices(self, key: Key) -> Mapping[int, Amount]:
        if key not in self._slices:
            self._slices[key] = _slices(self._db, key)
        return self._slices[key]

    def in_slice(self, key: Key, total: Amount) -> Amount:
        """What stands in the slice of now when the total of all is `total`."""
        slices = self.slices(key)
        return add(slices.get(key.start, 0), subtract(total, sliding.total(slices)))


def _totals(db: sqlite3.Connection, counters: tuple[Counter, ...], now: float) -> tuple[Amount, ...]:
    stand = _Stand(db)
    return tuple(stand.total(key_now(one, now)) for one in counters)


def _give_back(db: sqlite3.Connection, entries: tuple[Entry, ...]) -> bool:
    for entry in entries:
        key = key_of(entry)
        select, store = (_SLICE, _STORE_SLICE) if key.sliding else (_TOTAL, _STORE)
        row = db.execute(select, key[:4]).fetchone()
        # A window or a slice that was swept needs nothing back, and no other may get it.
        if row and (total := amount(row[0])):
            db.execute(store, (*key[:4], str(max(0, subtract(total, entry.reservation.amount)))))
    return True


def _carry_over(db: sqlite3.Connection) -> None:
    """Copy totals under old names to every name that they may mean now; where several do, the greatest total stays."""
    for old, holder, window, start, total in db.execute(_ALL).fetchall():
        for new in carried_over(old):
            key = (new, holder, window, start)
            row = db.execute(_TOTAL, key).fetchone()
            if row is None or _is_more(total, row[0]):
                db.execute(_STORE, (*key, total))


def _is_more(one: object, other: object) -> bool:
    """True for the greater total; a damaged one, from which nobody gets anything, is greater than any."""
    try:
        stands = amount(other)
    except StoreUnavailable:
        return False
    try:
        return amount(one) > stands
    except StoreUnavailable:
        return True


def _total(db: sqlite3.Connection, key: tuple[str, str, int, int]) -> Amount:
    row = db.execute(_TOTAL, key).fetchone()
    return amount(row[0]) if row else 0


def _slices(db: sqlite3.Connection, key: Key) -> dict[int, Amount]:
    first = sliding.first_counted(key.start)
    rows = db.execute(_SLICES, (key.counter, key.holder, key.window, first)).fetchall()
    # SQLite takes what is no number for greater than all numbers.
    if any(type(number) is not int for number, _ in rows):
        raise StoreUnavailable("the store of counters holds a slice that is no number")
    return {number: amount(total) for number, total in rows}


def _nothing() -> None:
    pass


def _unavailable(error: sqlite3.Error) -> StoreUnavailable:
    return StoreUnavailable(f"the store of counters cannot be used: {error}")
