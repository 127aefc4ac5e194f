"""Bundles to publish and to fetch, and one look at a source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

from sidecar.distribution.source import Fetched, Source
from sidecar.policy import archive
from tests.engine.asking import bundle_of

Result = TypeVar("Result")


def packed(policy: str = "default: allow\n", serial: int = 1) -> bytes:
    """A bundle without a signature, as it travels."""
    return archive.write(bundle_of(policy, serial).files)


def run(work: Coroutine[Any, Any, Result], seconds: float = 30) -> Result:
    """The result of some work, which must not take long."""

    async def bounded() -> Result:
        async with asyncio.timeout(seconds):
            return await work

    return uvloop.run(bounded())


def look(source: Source, *known: str) -> list[Fetched | None]:
    """What a source has to say, look after look; `known` are the tags that are shown, `""` at the first."""

    async def looks() -> list[Fetched | None]:
        try:
            return [await source.fetch(tag) for tag in known or ("",)]
        finally:
            await source.close()

    return run(looks())


def using(source: Source, work: Callable[[Source], Coroutine[Any, Any, Result]]) -> Result:
    """The result of some work with a source, which is closed in the end."""

    async def used() -> Result:
        try:
            return await work(source)
        finally:
            await source.close()

    return run(used())
