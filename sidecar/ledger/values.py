"""The values that go into a ledger: counters, what is taken from them, and exact amounts. No store, no clock."""

from __future__ import annotations

from decimal import Context, Decimal, InvalidOperation
from typing import Final, TypeAlias

import msgspec

from sidecar.errors import StoreUnavailable

Amount: TypeAlias = int | Decimal


class Reservation(msgspec.Struct, frozen=True):
    """What one rule takes from a counter: `total + amount` must not exceed `limit`, nor reach it if `exclusive`.

    Without a limit it only counts. `holder` is the session or the principal that the counter belongs to, or empty for
    a counter of everybody. `window` is in seconds. A `sliding` one ends now; others begin at multiples of their length.
    """

    counter: str
    holder: str
    window: int
    amount: Amount
    limit: Amount | None
    exclusive: bool = False
    sliding: bool = False

    def admits(self, total: Amount) -> bool:
        """True if `total` is within the limit."""
        if self.limit is None:
            return True
        return total < self.limit if self.exclusive else total <= self.limit


class Counter(msgspec.Struct, frozen=True):
    """A counter whose total is asked for; the fields are those of a reservation."""

    counter: str
    holder: str
    window: int
    sliding: bool = False


class Seen(msgspec.Struct, frozen=True):
    """The total of a counter that a call was judged by: a claim takes nothing if the total has changed since."""

    counter: Counter
    total: Amount


class Entry(msgspec.Struct, frozen=True):
    """What was taken from one counter, in the window that began at `start` (Unix seconds).

    Where the window slides, `start` is the number of the slice.
    """

    reservation: Reservation
    start: int


MAX_TEXT: Final = 250
"""Characters of a total, and the greatest exponent: more than any sum of amounts has."""

_EXACT = Context(prec=200)
"""Amounts have up to 34 digits and exponents within ±30, so sums of them fit with room to spare."""


def add(one: Amount, other: Amount) -> Amount:
    """The exact sum."""
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    return _EXACT.add(Decimal(one), Decimal(other))


def subtract(one: Amount, other: Amount) -> Amount:
    """The exact difference; adding `-other` would round to 28 digits."""
    if isinstance(one, int) and isinstance(other, int):
        return one - other
    return _EXACT.subtract(Decimal(one), Decimal(other))


def amount(stored: object) -> Amount:
    """The total in a store's text, which must be exactly as `str` writes it.

    Raises `StoreUnavailable` for anything else, a negative number included: then the store is damaged.
    """
    if not isinstance(stored, str) or len(stored) > MAX_TEXT:
        raise _damaged()
    number = _number(stored)
    if number is None or stored.startswith("-") or str(number) != stored:
        raise _damaged()
    return number


def _damaged() -> StoreUnavailable:
    return StoreUnavailable("the store of counters holds a total that is no number that we wrote")


def _number(text: str) -> Amount | None:
    if text.isdecimal():
        return int(text)
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < MAX_TEXT else None


def window_start(now: float, window: int) -> int:
    """The Unix second at which the window that holds `now` began: a multiple of its length."""
    return int(now // window) * window
