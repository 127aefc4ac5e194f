"""An engine and the service of ours that it gets its policy from, whoever started it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable
from sidecar.policy.bundle import Bundle

ADOPT_SECONDS: Final = 30.0
"""How long a published bundle may take to come into force: milliseconds are usual, seconds for ten thousand rules."""


@dataclass(frozen=True, slots=True)
class ManagedEngine:
    """An engine on this machine, whoever started it, and the service of ours that feeds it."""

    engine: Engine
    service: BundleServer

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
