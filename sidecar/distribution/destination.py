"""Where bundles are published, as a protocol; and the wait by which two publishers find out about each other."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from sidecar.distribution.label import Label
from sidecar.errors import SidecarError

LEAST: Final = 0.2
"""Seconds that are waited before a name is read back that its place lets anybody overwrite."""
MOST: Final = 5.0
TIMES: Final = 4
"""The wait is so many times what the writing itself took: another publisher is hardly that much slower than we."""


class Taken(SidecarError):
    """Somebody else wrote there in the same moment."""


class NoCopy(SidecarError):
    """The place keeps the current bundle only, and none for each serial."""


class Destination(Protocol):
    """One place that bundles are published to. Every wait of it is bounded; its failures are `SourceUnavailable`."""

    @property
    def name(self) -> str:
        """What to call it in messages: without credentials."""

    async def current(self) -> bytes | None:
        """The bundle that sidecars fetch now."""

    async def of_serial(self, serial: int) -> bytes | None:
        """The bundle that was published under a serial."""

    async def keep(self, serial: int, data: bytes, label: Label) -> None:
        """Write the bundle of a serial, which is not there yet. Raises `Taken` where another one is, or `NoCopy`."""

    async def replace(self, old: bytes | None, data: bytes, label: Label) -> None:
        """Make this the bundle that sidecars fetch, in place of `old`. Raises `Taken` where another one came first."""

    async def close(self) -> None:
        """Drop its connections."""


async def settled(began: float) -> None:
    """Wait until whoever looked before we wrote, and writes what we wrote, surely has written too.

    A plain server and a registry let the last writer win. If everybody reads, writes, waits for longer than the others
    take for that, and reads again, then all see the same winner (Fischer's algorithm). Where somebody is slower than
    that, two believe to have won, and the sidecars refuse the second one of a serial.
    """
    took = asyncio.get_running_loop().time() - began
    await asyncio.sleep(min(max(LEAST, TIMES * took), MOST))
