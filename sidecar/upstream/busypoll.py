"""Busy polling: staying awake for a moment for what a server answers at once.

To fall asleep and be woken costs some 50 µs, and as much again for caches that others have used meanwhile. Where a
server answers faster than that, it is cheaper to keep looking, as Go's scheduler does before it sleeps.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import perf_counter
from typing import Final

MOMENT: Final = 100e-6
"""Seconds for which an answer is awaited awake."""
QUICK: Final = 2 * MOMENT
"""An answer that took fewer seconds would have come within the moment, had we been awake."""


class BusyPoll:
    """Keeps an event loop awake while an answer is due, where something came quickly the last time one was.

    `later` has something called in the next pass of the event loop, which then reads without sleeping. Whoever else
    wants the processor meanwhile gets it: it may be the server.
    """

    __slots__ = ("_clock", "_is_awake", "_is_quick", "_later", "_since")

    def __init__(
        self, later: Callable[[Callable[[], None]], object], clock: Callable[[], float] = perf_counter
    ) -> None:
        self._later = later
        self._clock = clock
        self._since: float | None = None
        self._is_quick = self._is_awake = False

    def begin(self) -> None:
        """Something was sent that may be answered."""
        if self._since is None:
            self._since = self._clock()
        if self._is_quick and not self._is_awake:
            self._is_awake = True
            self._later(self._look_on)

    def end(self) -> None:
        """Something came."""
        if self._since is not None:
            self._is_quick = self._clock() - self._since < QUICK
            self._since = None

    def _look_on(self) -> None:
        self._is_awake = False
        if self._since is None:
            return
        if self._clock() - self._since < MOMENT:
            self._is_awake = True
            os.sched_yield()
            self._later(self._look_on)
        else:
            # What comes now is not quick, whenever it was sent for.
            self._is_quick, self._since = False, None
