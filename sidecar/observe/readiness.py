"""Readiness beyond the engine's, as it is heard from events and shown by the readiness probe.

A store that fails makes a sidecar not ready. A source of bundles that cannot be reached is only told: the policy in
force still decides. So is a server that fails: who restarts us for that would mend nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sidecar.events import (
    BundleFetched,
    Decided,
    Handlers,
    Settled,
    StoreFailed,
    UpstreamAnswered,
    UpstreamFailed,
)
from sidecar.text import visible

LASTS: Final = 10.0
"""Seconds for which a failure of the store counts, unless a call was counted since."""


class Readiness:
    """Keeps the last failure of the store and of the server; `clock` gives seconds, `time_of_day` those since 1970."""

    def __init__(self, clock: Callable[[], float], time_of_day: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._time_of_day = time_of_day
        self._since = self._upstream = ""
        self._text = ""
        self._until = 0.0
        self._source = ""
        self.handlers: Handlers = {
            StoreFailed: self._failed, Decided: self._decided, BundleFetched: self._fetched,
            UpstreamFailed: self._upstream_failed, UpstreamAnswered: self._upstream_answered, Settled: self._settled,
        }  # fmt: skip

    def trouble(self) -> str | None:
        """What is wrong, in words for a person, or None."""
        return self._text if self._text and self._clock() < self._until else None

    def notes(self) -> list[str]:
        """What an operator should know of a sidecar that is ready, a line each."""
        upstream = f"since {self._since} {self._upstream}" if self._upstream else ""
        return [note for note in (self._source, upstream) if note]

    def _upstream_failed(self, event: UpstreamFailed) -> None:
        if event.is_down:
            if not self._upstream:
                self._since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._time_of_day()))
            self._upstream = visible(event.text)

    def _upstream_answered(self, _: UpstreamAnswered) -> None:
        self._upstream = ""

    def _settled(self, event: Settled) -> None:
        if self._upstream and not event.cause:
            self._upstream = ""

    def _fetched(self, event: BundleFetched) -> None:
        self._source = f"no bundle can be fetched: {visible(event.trouble)}" if event.trouble else ""

    def _failed(self, event: StoreFailed) -> None:
        self._text, self._until = event.text, self._clock() + LASTS

    def _decided(self, event: Decided) -> None:
        if event.reserve:
            self._text = ""  # a call was counted
