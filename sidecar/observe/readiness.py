"""Readiness beyond the engine's, as it is heard from events and shown by the readiness probe.

A store that fails makes a sidecar not ready. A bundle that is refused is only told, as is a source that cannot be
reached: the policy in force still decides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sidecar.events import BundleFetched, BundleJudged, Decided, Handlers, StoreFailed
from sidecar.observe.log.policies import named_bundle
from sidecar.text import visible

LASTS: Final = 10.0
"""Seconds for which a failure of the store counts, unless a call was counted since."""


class Readiness:
    """Keeps the last failure of the store; `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._text = ""
        self._until = 0.0
        self._source = self._refused = ""
        self.handlers: Handlers = {
            StoreFailed: self._failed, Decided: self._decided, BundleFetched: self._fetched, BundleJudged: self._judged,
        }  # fmt: skip

    def trouble(self) -> str | None:
        """What is wrong, in words for a person, or None."""
        return self._text if self._text and self._clock() < self._until else None

    def notes(self) -> list[str]:
        """What an operator should know of a sidecar that is ready, a line each."""
        return [note for note in (self._source, self._refused) if note]

    def _fetched(self, event: BundleFetched) -> None:
        self._source = f"no bundle can be fetched: {visible(event.trouble)}" if event.trouble else ""

    def _judged(self, event: BundleJudged) -> None:
        why = f"{named_bundle(event)} is refused ({event.refused}): {visible(event.text)}"
        self._refused = why if event.refused else ""

    def _failed(self, event: StoreFailed) -> None:
        self._text, self._until = event.text, self._clock() + LASTS

    def _decided(self, event: Decided) -> None:
        if event.left:
            self._text = ""  # a call was counted
