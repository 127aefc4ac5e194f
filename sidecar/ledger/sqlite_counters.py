"""Counters in an SQLite file, within one transaction: where they stand, what is written, what is given back.

Totals are decimal text, summed in Python: exact, whatever their size.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sliding
from sidecar.ledger.batch import Key, key_now, key_of
from sidecar.ledger.names import carried_over
from sidecar.ledger.values import Amount, Counter, Entry, add, amount, subtract

SCHEMA = """
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
_ALL = "SELECT counter, holder, window, start, total FROM counters"

_SLICES = "SELECT slice, total FROM slices WHERE counter = ? AND holder = ? AND window = ? AND slice >= ?"
_STORE_SLICE = (
    "INSERT INTO slices VALUES (?, ?, ?, ?, ?, NULL)"
    " ON CONFLICT (counter, holder, window, slice) DO UPDATE SET total = excluded.total, lived = NULL"
)
_SLICE = "SELECT total FROM slices WHERE counter = ? AND holder = ? AND window = ? AND slice = ?"


class Stand:
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


def store(db: sqlite3.Connection, changed: Mapping[Key, Amount], stand: Stand) -> None:
    """Write the new totals of counters; `stand` is where they stood before."""
    for key, total in changed.items():
        if key.sliding:
            db.execute(_STORE_SLICE, (*key[:4], str(stand.in_slice(key, total))))
        else:
            db.execute(_STORE, (*key[:4], str(total)))


def totals(db: sqlite3.Connection, counters: tuple[Counter, ...], now: float) -> tuple[Amount, ...]:
    """The totals of counters, 0 for one that nothing was taken from."""
    stand = Stand(db)
    return tuple(stand.total(key_now(one, now)) for one in counters)


def give_back(db: sqlite3.Connection, entries: tuple[Entry, ...]) -> bool:
    """Undo what was taken, each in its own window."""
    for entry in entries:
        key = key_of(entry)
        select, write = (_SLICE, _STORE_SLICE) if key.sliding else (_TOTAL, _STORE)
        row = db.execute(select, key[:4]).fetchone()
        # A window or a slice that was swept needs nothing back, and no other may get it.
        if row and (total := amount(row[0])):
            db.execute(write, (*key[:4], str(max(0, subtract(total, entry.reservation.amount)))))
    return True


def carry_over(db: sqlite3.Connection) -> None:
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
