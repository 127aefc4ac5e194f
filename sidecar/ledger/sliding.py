"""Sliding windows: which slices of time count, and when enough of them has fallen out. No store, no clock.

A slice is a sixtieth of the window. Counted are the slice of now and the 60 before it: all of any span as long as the
window, and up to a slice more. Slices of the future count too, so a clock that is set back opens nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.ledger.values import Amount, Counter, Reservation, add, subtract, window_start

SLICES: Final = 60
"""Slices in one window."""


def start_of(one: Reservation | Counter, now: float) -> int:
    """Where `now` falls in the time of a counter: the start of its window, or the number of the slice."""
    return slice_of(now, one.window) if one.sliding else window_start(now, one.window)


def slice_of(now: float, window: int) -> int:
    """The number of the slice that holds `now`, without rounding."""
    seconds, parts = now.as_integer_ratio()
    return seconds * SLICES // (parts * window)


def first_counted(number: int) -> int:
    """The first slice that counts while `number` is the slice of now."""
    return number - SLICES


def total(slices: Mapping[int, Amount]) -> Amount:
    """What stands in slices together."""
    stands: Amount = 0
    for amount in slices.values():
        stands = add(stands, amount)
    return stands


def seconds_until_fallen(number: int, window: int, now: float) -> int:
    """Whole seconds, at least 1, after which a slice does not count any more."""
    seconds, parts = now.as_integer_ratio()
    left = (number + SLICES + 1) * window * parts - SLICES * seconds
    return max(1, -(-left // (SLICES * parts)))


def seconds_until_fits(slices: Mapping[int, Amount], after: Amount, wanted: Reservation, now: float) -> int:
    """Seconds until enough of what stands in `slices` has fallen out for `wanted`; `after` is the total with it now.

    What never fits has to wait for all to fall out, or for one window where nothing stands.
    """
    taken = sorted(number for number, stands in slices.items() if stands)
    for number in taken:
        after = subtract(after, slices[number])
        if wanted.admits(after):
            return seconds_until_fallen(number, wanted.window, now)
    return seconds_until_fallen(taken[-1], wanted.window, now) if taken else wanted.window
