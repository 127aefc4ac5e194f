"""Readiness beyond the engine's: a store that fails. It is heard from events and shown by the readiness probe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.events import Decided, Handlers, StoreFailed

LASTS: Final = 10.0
"""Seconds for which a failure of the store counts, unless a call was counted since."""


class Readiness:
    """Keeps the last failure of the store; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._text = ""
        self._until = 0.0
        self.handlers: Handlers = {StoreFailed: self._failed, Decided: self._decided}

    def trouble(self) -> str | None:
        """What is wrong, in words for a person, or None."""
        return self._text if self._text and self._clock() < self._until else None

    def _failed(self, event: StoreFailed) -> None:
        self._text, self._until = event.text, self._clock() + LASTS

    def _decided(self, event: Decided) -> None:
        if event.left:
            self._text = ""  # a call was counted
