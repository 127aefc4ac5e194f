"""The ledger in one SQLite file, shared by any number of processes on this machine.

One transaction a claim: what is committed survives the death of every process (`synchronous=NORMAL` leaves out the
wait for the disk; after a power cut the last claims may be gone, but none that took an approval: those wait on a thread
until they are on the disk). Totals are decimal text, summed in Python: exact, whatever their size.

Most claims are on one counter that no other process has changed since we did. Such a claim is optimistic: one UPDATE
that succeeds only if the total is still the one that we last wrote. If it is not, the claim runs as a transaction; so
does every claim on a counter that slides, whose total is in many rows.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from sidecar.errors import StoreUnavailable
from sidecar.ledger import admitted, batch, sqlite_records
from sidecar.ledger.approvals import NOTHING_ASKED, Wants
from sidecar.ledger.batch import Asks, Claims, Key
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Claimed, Highest, Taken
from sidecar.ledger.shared_time import SharedTime
from sidecar.ledger.sqlite_access import Access
from sidecar.ledger.sqlite_approvals import SqliteApprovals
from sidecar.ledger.sqlite_counters import SCHEMA, Stand, carry_over, give_back, store, totals
from sidecar.ledger.sqlite_records import SqliteRecords
from sidecar.ledger.sweep import Sweep
from sidecar.ledger.transitions import settle
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen

MAX_LAST_TOTALS: Final = 1_000
"""Cached totals; the cache is cleared when it reaches this size."""

SWEEP: Final = 600.0
"""Seconds between two sweeps of windows long over: most holders, as sessions, never come back."""

_LAYOUT: Final = 1
"""The layout of counters' names, kept as the file's `user_version`; 0 is from before servers' names were encoded."""

_CHANGE = "UPDATE counters SET total = ? WHERE counter = ? AND holder = ? AND window = ? AND start = ? AND total = ?"


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
        self._sweep: Sweep  # both are there once the file is open
        self._swept: float
        self._access = Access(path, self._begin)
        self._time = SharedTime(clock, monotonic)
        self._approvals = SqliteApprovals(self._access, self._time)
        self._last_totals: dict[Key, Amount] = {}

    @property
    def approvals(self) -> SqliteApprovals:
        return self._approvals

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken] | None:  # fmt: skip
        def work(db: sqlite3.Connection) -> Claims:
            done = self._claim(db, wanted, seen, asked)
            if _takes_an_approval(done):
                raise _WaitsForDisk
            return done

        def claim() -> Claims:
            optimistic = None if seen or asked else self._claim_optimistically(wanted)
            return optimistic or self._access.hasty.run(work)

        try:
            done = self._access.at_once(claim)
        except _WaitsForDisk:  # nothing is done: a thread does it
            return None
        if done is None:
            return None
        claimed, changed = done
        if len(self._last_totals) >= MAX_LAST_TOTALS:
            self._last_totals.clear()
        self._last_totals.update((key, total) for key, total in changed.items() if not key.sliding)
        return claimed

    async def claim(
        self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = (), asked: Wants | None = None
    ) -> Claimed:
        asks = NOTHING_ASKED if asked is None else {0: asked}
        (claimed,), _ = await self._access.wait(
            lambda db: self._claim(db, (reservations,), {0: seen}, asks), self._unclaim, _takes_an_approval
        )
        if isinstance(claimed, StoreUnavailable):
            raise claimed
        return claimed

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        return await self._access.read(lambda db: totals(db, counters, self._clock()))

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        return self._access.at_once(lambda: self._access.hasty.run(lambda db: give_back(db, entries))) is not None

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        await self._access.wait(lambda db: give_back(db, entries))

    async def admit(self, server: str, bundle: Highest) -> Highest:
        # On the disk also where it stood already: whoever wrote it may not have come so far.
        return await self._access.wait(lambda db: admitted.raised(db, server, bundle), lasts=lambda _: True)

    async def close(self) -> None:
        await self._access.close()

    def _begin(self, db: sqlite3.Connection) -> None:
        """Make the tables if there are none, bring counters' names up to date, and remove old windows."""
        db.execute(SCHEMA)
        db.execute(admitted.SCHEMA)
        for statement in sqlite_records.SCHEMA:
            db.execute(statement)
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            carry_over(db)
            db.execute(f"PRAGMA user_version = {_LAYOUT}")
        self._swept = self._monotonic()
        self._sweep = Sweep(db, self._swept)

    def _claim(
        self, db: sqlite3.Connection, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]],
        asked: Mapping[int, Wants],
    ) -> Claims:  # fmt: skip
        now, monotonic = self._clock(), self._monotonic()
        if monotonic - self._swept >= SWEEP:
            self._sweep.work(db, now, monotonic)
            self._swept = monotonic
        stand = Stand(db)
        asks = Asks(asked, SqliteRecords(db, self._time)) if asked else None
        claimed, changed = batch.claims(wanted, seen, now, stand, asks)
        store(db, changed, stand)
        return claimed, changed

    def _unclaim(self, db: sqlite3.Connection, done: Claims) -> None:
        """Undo a claim that whoever made it does not know of."""
        for claimed in done[0]:
            if isinstance(claimed, Claim) and claimed.approval is None:
                give_back(db, claimed.entries)
            elif isinstance(claimed, Claim) and claimed.approval is not None:
                taken, records = claimed.approval, SqliteRecords(db, self._time)
                give_back(db, settle(taken.id, "released", claimed.entries, records, taken.uses).back)

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
        held = self._access.hasty.changes(_CHANGE, (str(changed[key]), *key[:4], str(before)))
        return (claimed, changed) if held else None


class _WaitsForDisk(Exception):
    """A claim takes an approval."""


def _takes_an_approval(done: Claims) -> bool:
    return any(isinstance(claimed, Claim) and claimed.approval is not None for claimed in done[0])


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
