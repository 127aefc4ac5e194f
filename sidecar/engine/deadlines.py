"""What waits too long: found by one timer, for things whose deadlines come nearly in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar

_LOOK_AGAIN: Final = 0.001
"""Seconds between the two looks at what is late. With zero the event loop would read nothing in between."""


class Waiting(Protocol):
    """Something that is open until it ends; the deadline is on the monotonic clock."""

    deadline: float
    is_open: bool


T = TypeVar("T", bound=Waiting)


class Deadlines(Generic[T]):
    """Calls `late` for whatever is still open after its deadline."""

    def __init__(self, late: Callable[[T], None]) -> None:
        self._late = late
        self._waiting: deque[T] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0  # when last, on the monotonic clock

    def add(self, item: T) -> None:
        """Watch one more; its deadline is before those of few others."""
        while self._waiting and not self._waiting[0].is_open:
            self._waiting.popleft()
        at = len(self._waiting)
        while at and self._waiting[at - 1].deadline > item.deadline:
            at -= 1
        self._waiting.insert(at, item)
        if at == 0 and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            left = max(_LOOK_AGAIN, item.deadline - monotonic())
            self._timer = asyncio.get_running_loop().call_later(left, self._look)

    def close(self) -> None:
        """Watch nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        """Tell of everything that was late at the last look already, and look again when the next one is late.

        It takes two looks, because the event loop runs timers before it reads: if this process was held up, OPA's
        answers may have arrived long ago, and are read between the two looks.
        """
        before, self._looked = self._looked, monotonic()
        self._timer = None
        while self._waiting and (not self._waiting[0].is_open or self._waiting[0].deadline <= before):
            item = self._waiting.popleft()
            if item.is_open:
                self._late(item)
        if self._waiting and self._timer is None:
            left = max(_LOOK_AGAIN, self._waiting[0].deadline - self._looked)
            self._timer = asyncio.get_running_loop().call_later(left, self._look)
