"""One timer for all that a connection waits for, cheap to set anew."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `passed` once the time that was set last is over.

    Setting a later time costs a look at the clock: the timer that runs looks at the time when it fires.
    """

    __slots__ = ("_at", "_fires", "_loop", "_passed", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, passed: Callable[[], None]) -> None:
        self._loop = loop
        self._passed = passed
        self._at: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._fires = 0.0

    def set(self, seconds: float) -> None:
        """From now on this many seconds are left."""
        self._at = self._loop.time() + seconds
        if self._timer is None or self._at < self._fires:
            self._arm(self._at)

    def clear(self) -> None:
        """From now on nothing is waited for."""
        self._at = None

    def stop(self) -> None:
        """The end: nothing will be called any more."""
        self._at = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = at
        self._timer = self._loop.call_at(at, self._fired)

    def _fired(self) -> None:
        self._timer = None
        if self._at is None:
            return
        if self._loop.time() < self._at:
            self._arm(self._at)
        else:
            self._at = None
            self._passed()
