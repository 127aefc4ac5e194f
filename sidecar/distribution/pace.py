"""When to look at a source again: pauses that grow while it fails, each a bit different, so that not all come at once.

Pure: chance is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

LONGEST: Final = 30.0
"""Seconds between two looks, however often it failed; unless the interval that was asked for is longer."""
SPREAD: Final = 0.2
"""The part of a pause that chance takes away."""


def pause(interval: float, failures: int, chance: Callable[[], float]) -> float:
    """Seconds until the next look, after so many failures in a row. `chance` gives numbers from 0 to below 1.

    Never longer than `interval` without failures. From the third failure on, the half of a pause is left to chance:
    all lost the source in the same moment, and would all come back in the same.
    """
    if failures == 0:
        return interval * (1 - SPREAD * chance())
    longest = max(interval, min(interval * 2.0 ** min(failures - 1, 16), LONGEST))
    spread = SPREAD if failures < 3 else 0.5
    return longest * (1 - spread * chance())
