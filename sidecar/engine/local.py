"""An engine of our own: OPA as our child, with its socket in a folder that is ours alone.

It is fed by our bundle server, or reads one bundle for good.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.engine import Engine
from sidecar.engine.managed import ManagedEngine
from sidecar.engine.process import OpaProcess, StillOpa
from sidecar.engine.sign import shared
from sidecar.errors import StartError
from sidecar.events import Emit
from sidecar.policy.bundle import EVERY_PATH, Bundle
from sidecar.system import ownership, tasks, temporary_folders

START_SECONDS: Final = 30.0
"""Seconds that OPA may take to load the first policy; ten thousand rules take some on a slow machine."""
MOST_ENDS: Final = 3
"""An OPA that ended so often before it was ready is not started again: a start fails at once, and says how it ended."""


@asynccontextmanager
async def local_engine(
    opa: Path, bundle: Bundle, *, server: str, timeout: float, remember: bool, emit: Emit, said: Callable[[str], None]
) -> AsyncIterator[ManagedEngine]:
    """An engine that decides by `bundle`, for the length of a `with`; `said` gets the errors that OPA logs.

    Raises `StartError` if it does not become ready.
    """
    token, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    service = BundleServer(token, shared(secret), EVERY_PATH)
    service.publish(service.packed(bundle))
    temporary_folders.sweep()
    with temporary_folders.folder() as folder:
        ownership.check(folder, "the folder for temporary files (TMPDIR)")
        port = await service.start()
        process = OpaProcess(opa, folder, port, token, secret, said)
        engine = Engine(process.socket, bundle, server=server, timeout=timeout, remember=remember, emit=emit)
        try:
            async with _running(opa, process, engine):
                yield ManagedEngine(engine, service)
        finally:
            await service.close()


@asynccontextmanager
async def still_engine(
    opa: Path, bundle: Bundle, *, server: str, timeout: float, emit: Emit, said: Callable[[str], None]
) -> AsyncIterator[Engine]:
    """An engine that decides by `bundle` and never by another, for the length of a `with`: it needs no network.

    Raises `StartError` if it does not become ready.
    """
    temporary_folders.sweep()
    with temporary_folders.folder() as folder:
        ownership.check(folder, "the folder for temporary files (TMPDIR)")
        process = StillOpa(opa, folder, bundle, said)
        engine = Engine(process.socket, bundle, server=server, timeout=timeout, remember=True, emit=emit)
        async with _running(opa, process, engine):
            yield engine


@asynccontextmanager
async def _running(opa: Path, process: OpaProcess, engine: Engine) -> AsyncIterator[None]:
    heart = None
    try:
        await _start(opa, process, engine)
        heart = tasks.lasting(engine.beat)
        yield
    finally:
        if heart is not None:
            heart.cancel()
        engine.close()
        await process.stop()


async def _start(opa: Path, process: OpaProcess, engine: Engine) -> None:
    starting, is_starting, ends = asyncio.timeout(START_SECONDS), True, 0
    failure = f"opa was not ready within {START_SECONDS:g} s"

    def ended(text: str) -> None:
        nonlocal ends, failure
        engine.ended(text)
        ends += is_starting
        if is_starting and ends == MOST_ENDS:
            how = text.partition(";")[0]
            failure = f"{opa} does not run as a server: {how}, {ends} times; name an opa binary with --opa-bin"
            starting.reschedule(asyncio.get_running_loop().time())

    try:
        await process.start(ended)
        async with starting:
            await engine.until_ready()
    except TimeoutError:
        raise StartError(failure) from None
    except OSError as error:
        raise StartError(f"cannot start {opa}: {error.strerror}") from None
    finally:
        is_starting = False
