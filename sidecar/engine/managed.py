"""A managed engine: an OPA, whoever started it, and the bundle server of ours that it gets its policy from."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Final

from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable
from sidecar.policy.bundle import Bundle
from sidecar.system.tasks import in_thread_if_can_be

ADOPT_SECONDS: Final = 30.0
"""Seconds that a published bundle may take to come into force: usually milliseconds, some for ten thousand rules."""


@dataclass(frozen=True, slots=True)
class ManagedEngine:
    """An engine on this machine, and the bundle server of ours that feeds it."""

    engine: Engine
    service: BundleServer

    async def adopt(self, bundle: Bundle) -> None:
        """Put another bundle in force. Raises `EngineUnavailable` if OPA does not take it, or answers wrongly by it.

        However it ends, the old bundle is back in force if the new one is not.
        """
        packed = await in_thread_if_can_be(partial(self.service.packed, bundle))  # calls go on meanwhile
        old = self.service.published
        self.engine.expect(bundle)
        self.service.publish(packed)
        try:
            async with asyncio.timeout(ADOPT_SECONDS):
                await self.engine.until_in_force(bundle)
        except TimeoutError:
            if self.engine.bundle is not bundle:  # the heartbeat may have put it in force meanwhile
                raise EngineUnavailable("exit", "opa did not take the new policy; the old one stays in force") from None
        except EngineUnavailable as error:
            if self.engine.bundle is not bundle:
                raise EngineUnavailable(error.kind, f"by the new policy {error}; the old one stays in force") from None
        finally:
            if self.engine.bundle is not bundle:
                self.engine.give_up()
                self.service.publish(old)
