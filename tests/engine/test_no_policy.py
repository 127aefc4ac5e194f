"""An engine that has no policy yet: it asks nothing, permits nothing, says so, and begins once it has one."""

from __future__ import annotations

import pytest
import uvloop

from sidecar.engine.local import local_engine
from sidecar.errors import EngineUnavailable
from sidecar.events import EngineFailed, Event
from sidecar.mcp.protocol import OF_CLIENTS
from sidecar.policy.model import ALWAYS_OPEN
from sidecar.policy.nothing import WHY, nothing
from tests.engine.asking import all_ended, asked, body_of, bundle_of
from tests.support import OPA

POLICY = bundle_of("tools: {}")
CALL = body_of(POLICY, "t", "{}")


def test_nothing_is_permitted_until_there_is_a_policy() -> None:
    async def test() -> None:
        events: list[Event] = []
        none_yet = nothing()
        async with local_engine(
            OPA, none_yet, server="stub", timeout=5.0, remember=True, emit=events.append, said=lambda _: None
        ) as local:
            engine = local.engine

            def troubles() -> list[str]:
                return [text for text in [engine.trouble] if text is not None]

            with pytest.raises(EngineUnavailable) as refused:
                await asked(engine, CALL, none_yet)
            assert refused.value.kind == "no_policy"
            with pytest.raises(EngineUnavailable):
                await engine.ask_visible(b"{}", ["t"], none_yet, "1")
            assert [event.kind for event in events if isinstance(event, EngineFailed)] == ["no_policy", "no_policy"]
            assert troubles() == [WHY]
            await local.adopt(POLICY)
            assert (await asked(engine, CALL, POLICY)).decision.action == "allow"
            assert troubles() == []
        await all_ended()

    uvloop.run(test())


def test_no_method_passes_that_a_policy_could_deny() -> None:
    """The policy that is awaited may close any of them: `methods: {deny: [resources/read]}`."""
    terms = nothing().terms
    passing = {method for method in OF_CLIENTS if terms.permits(method)}
    assert {method for method in passing if not method.startswith("notifications/")} == set(ALWAYS_OPEN)
    assert "notifications/initialized" in passing  # or there is no session in which anybody could be told why
    assert not terms.permits("acme/do")
