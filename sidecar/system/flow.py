"""Flow control: whoever cannot keep up stops the other side, so that nothing is heaped up here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Readable(Protocol):
    """A pipe that is read as fast as it brings something, unless it is paused."""

    def is_closing(self) -> bool:
        """True once nothing more is read from it."""

    def pause_reading(self) -> None:
        """Read nothing more."""

    def resume_reading(self) -> None:
        """Go on."""


def pause(pipe: Readable | None, stop: bool) -> None:
    """Read nothing more from a pipe, or go on; nothing where it is over."""
    if pipe is None or pipe.is_closing():
        return
    if stop:
        pipe.pause_reading()
    else:
        pipe.resume_reading()


class Valve:
    """Closed while somebody cannot keep up; others wait until it is open."""

    def __init__(self) -> None:
        self._is_open = asyncio.Event()
        self._is_open.set()

    def close(self, now: bool = True) -> None:
        """Close it, or open it again."""
        if now:
            self._is_open.clear()
        else:
            self._is_open.set()

    async def passed(self) -> None:
        """Wait until it is open."""
        await self._is_open.wait()


class Pause:
    """Stops one side, by `stop`, for as long as anybody has a reason to."""

    def __init__(self, stop: Callable[[bool], None]) -> None:
        self._stop = stop
        self._reasons: set[str] = set()

    def set(self, reason: str, now: bool) -> None:
        """There is this reason now, or no longer."""
        if now:
            self._reasons.add(reason)
        else:
            self._reasons.discard(reason)
        self._stop(bool(self._reasons))
