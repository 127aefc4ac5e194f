"""An engine of our own: OPA as our child, fed by our bundle service, with its socket in a folder nobody else enters."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar import tasks
from sidecar.engine.engine import Engine
from sidecar.engine.process import OpaProcess
from sidecar.engine.serve import BundleService
from sidecar.errors import EngineUnavailable, StartError
from sidecar.events import Emit
from sidecar.policy.bundle import Bundle

START_SECONDS: Final = 10.0
ADOPT_SECONDS: Final = 5.0
"""How long a published bundle may take to come into force; some milliseconds are usual."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """An engine on this machine, whoever started it, and the service of ours that feeds it."""

    engine: Engine
    service: BundleService

    async def adopt(self, bundle: Bundle) -> None:
        """Bring another bundle into force. Raises `EngineUnavailable` when OPA does not take it: the old one stays."""
        old = self.engine.bundle
        self.engine.expect(bundle)
        self.service.publish(bundle)
        try:
            async with asyncio.timeout(ADOPT_SECONDS):
                await self.engine.until_in_force(bundle)
        except TimeoutError:
            self.engine.give_up()
            self.service.publish(old)
            raise EngineUnavailable("exit", "opa did not take the new policy; the old one stays in force") from None


@asynccontextmanager
async def local_engine(
    opa: Path, bundle: Bundle, *, server: str, timeout: float, remember: bool, emit: Emit, said: Callable[[str], None]
) -> AsyncIterator[LocalEngine]:
    """An engine that decides by `bundle`, for the length of a `with`; `said` gets what OPA writes.

    Raises `StartError` when it does not come up.
    """
    token = secrets.token_urlsafe(32)
    service = BundleService(token)
    service.publish(bundle)
    with tempfile.TemporaryDirectory(prefix="intercept-") as folder:
        port = await service.start()
        process = OpaProcess(opa, Path(folder), port, token, said)
        engine = Engine(process.socket, bundle, server=server, timeout=timeout, remember=remember, emit=emit)
        heart = None
        try:
            await _start(opa, process, engine)
            heart = tasks.start(engine.beat())
            yield LocalEngine(engine, service)
        finally:
            if heart is not None:
                heart.cancel()
            engine.close()
            await process.stop()
            await service.close()


async def _start(opa: Path, process: OpaProcess, engine: Engine) -> None:
    try:
        await process.start(engine.ended)
        async with asyncio.timeout(START_SECONDS):
            await engine.until_ready()
    except TimeoutError:
        raise StartError(f"opa was not ready within {START_SECONDS:g} s") from None
    except OSError as error:
        raise StartError(f"cannot start {opa}: {error.strerror}") from None
