"""Says the first few of what is repeated, and how many more there were: nobody can fill a disk by repeating it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from sidecar.system.operator_log import fields, log

PERIOD: Final = 60.0
"""Seconds of one period, in which only a few of each kind are logged; metrics count all of them."""
MOST: Final = 50
"""How many of a kind are logged in a period, unless it says otherwise."""


class Sparing:
    """Admits `most` lines of one event in each period. `clock` gives seconds.

    When more come, `are` says so once ("messages are dropped; METRIC counts them"). With the first one of a later
    period, `were` says how many were left out ("messages were dropped").
    """

    def __init__(
        self, event: str, were: str, are: str, *, most: int = MOST, level: int = logging.WARNING,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._event = event
        self._were = were
        self._are = are
        self._most = most
        self._level = level
        self._clock = clock
        self._period = clock()
        self._count = 0

    @property
    def is_spent(self) -> bool:
        """True if nothing more is admitted in this period."""
        return self._count > self._most and self._clock() - self._period < PERIOD

    def admits(self) -> bool:
        """True if this one is to be logged."""
        now = self._clock()
        if now - self._period >= PERIOD:
            self.settle()
            self._period, self._count = now, 0
        self._count += 1
        if self._count == self._most + 1:
            log.log(self._level, "more %s", self._are, extra=fields(self._event))
        return self._count <= self._most

    def leave_out(self, count: int) -> None:
        """Count what is not logged."""
        self._count += count

    def settle(self) -> None:
        """Say now how many were left out. In this period no more are admitted for that."""
        left_out, self._count = self._count - self._most, min(self._count, self._most)
        if left_out > 0:
            log.log(self._level, "%d more %s", left_out, self._were, extra=fields(self._event, left_out=left_out))
