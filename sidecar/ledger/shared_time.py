"""The time that all users of a store share: it never goes back, and never stands still. No store.

Clocks are set, and several machines have several. So the store keeps the highest time that anybody has seen, and who
is behind it counts on from there by a clock that nobody sets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sidecar.errors import StoreUnavailable


class SharedTime:
    """One user's view; `clock` gives Unix seconds, `monotonic` those that nobody sets. Threads may share it."""

    def __init__(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._last = (-math.inf, monotonic())

    def now(self, mark: float) -> float:
        """Unix seconds, given the highest time that the store has seen: never less, and later as time passes."""
        ran = self._monotonic()
        before, at = self._last
        now = max(self._clock(), mark, before + (ran - at))
        self._last = (now, ran)
        return now


def mark_of(stored: object) -> float:
    """The highest time in a store, which has seen none yet where there is None.

    Raises `StoreUnavailable` for what is no time: then the store is damaged.
    """
    if stored is None:
        return -math.inf
    if not isinstance(stored, float) or not math.isfinite(stored):
        raise StoreUnavailable("the store of approvals holds a time that is no number")
    return stored
