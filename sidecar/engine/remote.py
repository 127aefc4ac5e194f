"""An engine that somebody else started, in a container of its own, and that our bundle server feeds all the same.

It may come late, go, and come back. Until it answers both canaries rightly every call is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from sidecar.decision.decision import read_about_engine
from sidecar.decision.question import question_about_engine
from sidecar.engine.binary import GOOD_VERSIONS
from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.client import Greeting
from sidecar.engine.engine import Engine
from sidecar.engine.managed import ManagedEngine
from sidecar.engine.sign import private
from sidecar.errors import EngineUnavailable, StartError
from sidecar.events import Emit
from sidecar.policy.bundle import Bundle
from sidecar.settings import RemoteOpa
from sidecar.system import tasks
from sidecar.text import shown

PATIENCE: Final = 1.0
"""Seconds that it may take to fetch its first bundle before its absence is logged."""


@asynccontextmanager
async def remote_engine(
    remote: RemoteOpa, bundle: Bundle, *, server: str, timeout: float, remember: bool, emit: Emit
) -> AsyncIterator[ManagedEngine]:
    """An engine that decides by `bundle`, for the length of a `with`. It need not be there yet.

    Raises `StartError` if the key is no good or the bundle server cannot listen.
    """
    service = BundleServer(remote.token, private(remote.signing_key))
    service.publish(service.packed(bundle))
    engine = Engine(
        remote.socket, bundle, server=server, timeout=timeout, remember=remember, emit=emit,
        # On each connection, because whoever starts OPA may replace it at any time, by another version or program.
        greeting=Greeting(question_about_engine(), _check),
    )  # fmt: skip
    try:
        await service.start(remote.listen.host, remote.listen.port)
    except OSError as error:
        raise StartError(f"--bundle-listen: cannot listen on {remote.listen}: {error.strerror}") from None
    heart = None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await engine.until_ready()
        engine.complain()
        heart = tasks.lasting(engine.beat)
        yield ManagedEngine(engine, service)
    finally:
        if heart is not None:
            heart.cancel()
        engine.close()
        await service.close()


def _check(answer: bytes) -> None:
    """Raise `EngineUnavailable` unless the engine has a good version and accepts only signed bundles."""
    about = read_about_engine(answer)
    if about.engine not in GOOD_VERSIONS:
        good = " or ".join(GOOD_VERSIONS)
        version = shown(about.engine)
        raise EngineUnavailable("version", f"the policy engine is OPA {version}: this sidecar needs {good}")
    if not about.verifies:
        raise EngineUnavailable(
            "unverified",
            "the policy engine takes bundles from anybody: its configuration must have for each of its bundles "
            "`signing: {keyid: intercept, scope: intercept}`, and the public half of --bundle-signing-key in `keys`",
        )
