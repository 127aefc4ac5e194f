"""Bundles from a source into force: fetched, admitted, kept, adopted. What is not admitted leaves the old one in force.

Whatever fails is tried again by itself: the source after a pause that grows, and a bundle that was refused too, because
what it was refused for may pass, as a busy machine or a store that is away.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeAlias

from sidecar.distribution import pace
from sidecar.distribution.kept import Kept
from sidecar.distribution.source import Fetched, Source
from sidecar.errors import (
    BundleRefused,
    NothingPublished,
    PolicyAwaited,
    SidecarError,
    SourceUnavailable,
    StartError,
)
from sidecar.events import BundleFetched, BundleJudged, Emit
from sidecar.policy.bundle import Bundle
from sidecar.system import defects, tasks
from sidecar.system.operator_log import fields, log
from sidecar.system.tasks import in_thread

FIRST: Final = 3.0
"""Seconds that a start waits for the source before it goes on with the bundle that was kept, or with none."""
AGAIN: Final = (5.0, 30.0)
"""Seconds before a bundle that was refused is tried again: the first pause, and the longest."""

_WAITS: Final = "waits"
"""Stands for the kind of a refusal where a bundle comes into force once the engine answers."""

Admit: TypeAlias = Callable[[bytes], Bundle]
"""Whether a bundle may be put in force, but for its serial: raises `BundleRefused`. It takes a second, and blocks."""
Adopt: TypeAlias = Callable[[Bundle], Coroutine[Any, Any, None]]
"""Puts a bundle in force, or raises a `SidecarError`."""


class Floor(Protocol):
    """The highest serial that was ever admitted."""

    async def rise(self, bundle: Bundle) -> None:
        """Note a bundle as admitted. Raises `BundleRefused` for an older one, or for other content of that serial."""


@dataclass(slots=True)
class _Waiting:
    """A bundle that was fetched and is not in force: when to try it, and what was said of it."""

    fetched: Fetched
    at: float
    pause: float = AGAIN[0]
    said: tuple[str, str] = ("", "")


class Feed:
    """The bundles of one server. `accepts` raises `StartError` for a bundle that this sidecar cannot serve under."""

    def __init__(
        self, *, server: str, source: Source, admit: Admit, floor: Floor, kept: Kept,
        accepts: Callable[[Bundle], None], interval: float, emit: Emit,
    ) -> None:  # fmt: skip
        self._server = server
        self._source = source
        self._admit = admit
        self._floor = floor
        self._kept = kept
        self._accepts = accepts
        self._interval = interval
        self._emit = emit
        self._now = asyncio.get_running_loop().time
        self._tag = ""
        self._failures = 0
        self._too_large = ""
        self._waiting: _Waiting | None = None

    async def first(self) -> Bundle | None:
        """The bundle to begin with: what the source has now, else what was kept; None where neither is any good."""
        begun: list[Bundle] = []

        async def note(bundle: Bundle) -> None:
            begun.append(bundle)

        try:
            async with asyncio.timeout(FIRST):
                await self._look()
        except TimeoutError:
            self._emit(BundleFetched(self._server, news=False, trouble=f"no answer within {FIRST:g} s"))
        await self._try(note)
        for data in [] if begun else await in_thread(self._kept.candidates):
            await self._bring(data, note)
            if begun:
                break
        return begun[0] if begun else None

    async def watch(self, adopt: Adopt, asked: asyncio.Event | None = None, *, alone: bool = False) -> None:
        """Put in force what the source has, without end.

        When `asked` is set, the source is looked at once more, and what it had and could not be put in force is tried
        again; `alone` means that nothing is looked at otherwise.
        """
        asked = asked or asyncio.Event()
        while True:
            is_asked = await tasks.pause(None if alone else self._pause(), asked)
            if is_asked and self._waiting is not None:
                self._waiting.at, self._waiting.said = self._now(), ("", "")
            await self._look()
            if is_asked and self._waiting is None and not self._failures:
                log.info("the source of bundles has what is in force", extra=fields("policy_unchanged"))
            await self._try(adopt)

    async def close(self) -> None:
        """Drop the connections to the source."""
        await self._source.close()

    def _pause(self) -> float:
        if self._source.waits and not self._failures:
            return 0.0
        seconds = pace.pause(self._interval, self._failures, random.random)
        return seconds if self._waiting is None else min(seconds, max(0.0, self._waiting.at - self._now()))

    async def _look(self) -> None:
        try:
            fetched = await self._source.fetch(self._tag)
        except SourceUnavailable as error:
            # A place that answers and has nothing yet is not in trouble: the first bundle there is awaited, not spared.
            self._failures = 0 if isinstance(error, NothingPublished) else self._failures + 1
            self._emit(BundleFetched(self._server, news=False, trouble=str(error)))
            return
        except BundleRefused as error:  # it is too large to be fetched
            self._failures += 1
            # Whatever comes next is judged, if only to take back what is said now.
            self._tag = ""
            if str(error) != self._too_large:
                self._too_large = str(error)
                self._emit(BundleJudged(self._server, 0, "", error.kind, str(error)))
            return
        except Exception as error:  # noqa: BLE001 - whatever a source says, a start and the next look do not hang on it
            self._failures += 1
            trouble = defects.text(defects.tell("a look at the source of bundles failed", error))
            self._emit(BundleFetched(self._server, news=False, trouble=trouble))
            return
        self._failures, self._too_large = 0, ""
        self._emit(BundleFetched(self._server, news=fetched is not None))
        if fetched is not None:
            self._tag = fetched.tag
            self._waiting = _Waiting(fetched, self._now())

    async def _try(self, adopt: Adopt) -> None:
        """Try the bundle that waits, if its time has come."""
        waiting = self._waiting
        if waiting is None or self._now() < waiting.at:
            return
        refused = await self._bring(waiting.fetched.data, adopt, waiting.said)
        if refused is None:
            self._waiting = None
            return
        waiting.said = refused
        waiting.at = self._now() + waiting.pause
        waiting.pause = AGAIN[0] if refused[0] == _WAITS else min(2 * waiting.pause, AGAIN[1])

    async def _bring(
        self, data: bytes, adopt: Adopt, said: tuple[str, str] = ("", "")
    ) -> tuple[str, str] | None:  # fmt: skip
        """Put a bundle in force; None, or why that cannot be. What was `said` of it is not said again."""
        serial, commit = 0, ""
        try:
            bundle = await in_thread(partial(self._admit, data))
            serial, commit = bundle.serial, bundle.commit
            self._accepts(bundle)
            is_new = await in_thread(partial(self._kept.stage, serial, data))
            try:
                await self._floor.rise(bundle)
            except SidecarError:
                if is_new:
                    self._kept.drop(serial, data)
                raise
            await adopt(bundle)
            await in_thread(partial(self._kept.commit, serial, data))
        except PolicyAwaited as error:
            if said != (waits := (_WAITS, str(error))):
                log.warning("the new bundle waits: %s", error, extra=fields("policy_awaited", cause=str(error)))
            return waits
        except Exception as error:  # noqa: BLE001 - whatever it is, the old policy stays in force
            refused = _why(error)
            if refused != said:
                self._emit(BundleJudged(self._server, serial, commit, *refused))
            return refused
        self._emit(BundleJudged(self._server, serial, commit))
        return None


def _why(error: Exception) -> tuple[str, str]:
    """The kind of a refusal, one of `events.BUNDLE_REFUSALS`, and its reason."""
    match error:
        case BundleRefused():
            return error.kind, str(error)
        case StartError():
            return "check", str(error)
        case SidecarError():
            return "unavailable", str(error)
        case OSError():
            return "unavailable", f"it cannot be kept in the state folder: {error.strerror}"
        case _:
            return "broken", defects.text(defects.tell("a bundle is refused", error))
