"""Removes counters of windows long over from an SQLite store, without trusting any wall clock.

A clock that is days ahead for a moment must not make us forget the limits of today. So a window that is over by the
clock is only marked. It is removed once the sidecars of this store have since run for `KEPT` times its length, by
monotonic clocks. A marked window had begun before, so by then it is over whatever any clock says.

Slices of sliding windows need no clock for that: what nobody has added to while the sidecars of this store ran for
`KEPT` times the window's length was called longer ago than a window and a slice, whatever its number says.

How long the sidecars of a store ran is one number in it, which all of them carry on and nobody may make jump: else what
one has just marked would be old by the idle years of another. So who finds that the number grew since it looked adds
nothing, removes nothing, and counts from then on.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from sidecar.errors import StoreUnavailable

KEPT: Final = 2
"""A counter is kept for this many times its window after the end, so that a late refund still finds it."""

MAX_LIVED: Final = 2**40
"""More seconds than any store has been in use."""

SCHEMA: Final = (
    """
    CREATE TABLE IF NOT EXISTS ended (
        counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL, start INTEGER NOT NULL,
        lived INTEGER NOT NULL,
        PRIMARY KEY (counter, holder, window, start)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS lived (seconds INTEGER NOT NULL)",
    # `lived` is when a sweep first found the slice as it is; NULL since it was last written.
    """
    CREATE TABLE IF NOT EXISTS slices (
        counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL, slice INTEGER NOT NULL,
        total TEXT NOT NULL, lived INTEGER,
        PRIMARY KEY (counter, holder, window, slice)
    ) WITHOUT ROWID
    """,
)
_BEGIN_LIFE = "INSERT INTO lived SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM lived)"
_LIVED = "SELECT max(seconds) FROM lived"
_NO_LONGER = "DELETE FROM ended WHERE start + window > ?"
_MARK = "INSERT OR IGNORE INTO ended SELECT counter, holder, window, start, ? FROM counters WHERE start + window <= ?"
_DUE = "FROM ended WHERE lived + window * ? <= ?"
_FORGET = (
    f"DELETE FROM counters WHERE (counter, holder, window, start) IN (SELECT counter, holder, window, start {_DUE})"  # noqa: S608
)
_FORGET_MARKS = f"DELETE {_DUE}"
_MARK_SLICES = "UPDATE slices SET lived = ? WHERE lived IS NULL"
_FORGET_SLICES = "DELETE FROM slices WHERE lived + window * ? <= ?"


class Sweep:
    """The removal of old windows; one for each process that has the store open. `opened` is a monotonic time."""

    def __init__(self, db: sqlite3.Connection, opened: float) -> None:
        """Make the tables, and remove what was marked long enough. `db` is in a transaction, as in `work`."""
        for statement in SCHEMA:
            db.execute(statement)
        db.execute(_BEGIN_LIFE)
        self._lived = _lived(db)
        self._looked = opened
        self._forget(db)

    def work(self, db: sqlite3.Connection, now: float, monotonic: float) -> None:
        """Mark what is over by the clock, `now`, and remove what was marked long enough."""
        lived, ran = _lived(db), int(monotonic - self._looked)
        if lived != self._lived:  # another one carried it on, and its marks may be younger than `ran`
            self._lived, self._looked = lived, monotonic
            return
        if ran <= 0:
            return  # marks would be older by what others ran since they looked
        self._lived, self._looked = lived + ran, monotonic
        db.execute("DELETE FROM lived")
        db.execute("INSERT INTO lived VALUES (?)", (self._lived,))
        db.execute(_NO_LONGER, (now,))
        db.execute(_MARK, (self._lived, now))
        db.execute(_MARK_SLICES, (self._lived,))
        self._forget(db)

    def _forget(self, db: sqlite3.Connection) -> None:
        db.execute(_FORGET, (KEPT, self._lived))
        db.execute(_FORGET_MARKS, (KEPT, self._lived))
        db.execute(_FORGET_SLICES, (KEPT, self._lived))


def _lived(db: sqlite3.Connection) -> int:
    (seconds,) = db.execute(_LIVED).fetchone()
    if seconds is None:
        return 0
    if not isinstance(seconds, int) or not 0 <= seconds <= MAX_LIVED:
        raise StoreUnavailable("the table `lived` of the store of counters holds no number of seconds")
    return seconds
