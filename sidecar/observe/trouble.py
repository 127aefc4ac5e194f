"""What keeps calls from being served though the engine answers: heard from events, told by the readiness probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.events import Decided, Event, StoreFailed

LASTS: Final = 10.0
"""Seconds for which a failure of the store counts, unless something was counted since."""


class Trouble:
    """Remembers the last failure of the store; `clock` gives seconds."""

    hears = (Decided, StoreFailed)

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._text = ""
        self._until = 0.0

    def hear(self, event: Event) -> None:
        """Note what broke, and what shows that it works again."""
        if isinstance(event, StoreFailed):
            self._text, self._until = event.text, self._clock() + LASTS
        elif self._text and isinstance(event, Decided) and event.left:
            self._text = ""

    def now(self) -> str | None:
        """What is wrong, in words for a person, or None."""
        return self._text if self._text and self._clock() < self._until else None
