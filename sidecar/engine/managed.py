"""A managed engine: an OPA, whoever started it, and the bundle server of ours that it gets its policy from."""

from __future__ import annotations

from functools import partial
from typing import Final

from sidecar.engine.bundle_server import BundleServer
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable, PolicyAwaited
from sidecar.policy.bundle import Bundle
from sidecar.system.tasks import in_thread_if_can_be

ADOPT_SECONDS: Final = 30.0
"""Seconds that a published bundle may take to come into force: usually milliseconds, some for ten thousand rules."""


class ManagedEngine:
    """An engine on this machine, and the bundle server of ours that feeds it."""

    def __init__(self, engine: Engine, service: BundleServer) -> None:
        self.engine = engine
        self.service = service
        self._in_force = service.published
        self._newest: Bundle | None = None
        """The last that was published: in force, or awaited."""

    async def adopt(self, bundle: Bundle) -> None:
        """Put another bundle in force; nothing is done if it is.

        Raises `EngineUnavailable` if OPA does not take it, or answers wrongly by it: the old one is back in force then.
        Raises `PolicyAwaited` if OPA answers by neither of them: that does not show that the old one still decides, so
        the new one stays published, and comes into force when OPA answers by it.
        """
        packed = await in_thread_if_can_be(partial(self.service.packed, bundle))  # calls go on meanwhile
        in_force = self.engine.bundle
        if (in_force.revision, in_force.serial) == (bundle.revision, bundle.serial):
            return
        if in_force is self._newest:
            self._in_force = self.service.published
        self._newest = bundle
        self.engine.expect(bundle)
        self.service.publish(packed)
        try:
            await self.engine.until_in_force(bundle, ADOPT_SECONDS)
        except PolicyAwaited:
            raise
        except EngineUnavailable as error:
            self.give_up()
            raise EngineUnavailable(error.kind, f"{error}; the old one stays in force") from None
        except BaseException:
            self.give_up()
            raise

    def give_up(self) -> None:
        """Let the policy in force stay, whatever else is expected."""
        if self._newest is not None and self.engine.bundle is not self._newest:
            self._newest = None
            self.engine.give_up()
            self.service.publish(self._in_force)
