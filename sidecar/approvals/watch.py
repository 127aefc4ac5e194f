"""Tells whoever waits that something changed in the store of approvals, and looks only while somebody waits."""

from __future__ import annotations

import asyncio
from typing import Final

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Approvals
from sidecar.system import tasks

EVERY: Final = 0.5
"""Seconds between two looks."""


class Watch:
    """A mark of what stands in the store: another one whenever something changed."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals
        self._mark = ""
        self._waiting = 0
        self._new = asyncio.Event()
        self._looking: asyncio.Task[None] | None = None

    async def changed(self, since: str, seconds: float) -> str:
        """Wait until the mark is not `since`, for at most so many seconds; the mark of now."""
        self._waiting += 1
        if self._looking is None or self._looking.done():
            self._looking = tasks.start(self._look())
        try:
            async with asyncio.timeout(seconds):
                while self._mark in ("", since):
                    await self._new.wait()
        except TimeoutError:
            return self._mark
        finally:
            self._waiting -= 1
        return self._mark

    async def _look(self) -> None:
        while self._waiting:
            mark = await self._mark_of_now()
            if mark != self._mark:
                self._mark = mark
                self._new.set()
                self._new = asyncio.Event()
            await asyncio.sleep(EVERY)
        self._mark = ""

    async def _mark_of_now(self) -> str:
        try:
            return f"stands {await self._approvals.mark()}"
        except StoreUnavailable:
            return "gone"  # what stands is not known: whoever asks is told so
