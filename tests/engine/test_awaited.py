"""An engine that is silent keeps no old policy in force: only an answer by the old one shows that it still decides."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine import managed
from sidecar.engine.bundle_server import BundleServer, Packed
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.errors import EngineUnavailable, PolicyAwaited, Superseded
from sidecar.policy.bundle import Bundle
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED
from tests.engine.asking import all_ended, asked, body_of, bundle_of, opa_pid, soon
from tests.engine.test_proof import ALLOWANCE, NEW, OLD, RIGHT, World
from tests.support import OPA
from tests.support.peer import stopped

SILENT = EngineUnavailable("timeout", "busy")
CANARIES = {
    "right": RIGHT,
    "silent": {CANARY_ALLOWED: SILENT, CANARY_DENIED: SILENT},
    "half": RIGHT | {CANARY_DENIED: SILENT},
    "away": RIGHT | {CANARY_ALLOWED: EngineUnavailable("connection", "away")},
    "wrong": RIGHT | {CANARY_DENIED: ALLOWANCE},
    "no decision": RIGHT | {CANARY_ALLOWED: {}},
}
"""How the fake answers its canaries. Whichever way, it allows every call."""


class Service:
    """What is published, by its name."""

    def __init__(self) -> None:
        self.published = Packed(b"", str(OLD.serial))

    def packed(self, bundle: Bundle) -> Packed:
        return Packed(b"", str(bundle.serial))

    def publish(self, packed: Packed) -> None:
        self.published = packed


def governed(world: World) -> tuple[ManagedEngine, Service]:
    """The world's engine with a service that feeds it."""
    service = Service()
    return ManagedEngine(world.engine, cast("BundleServer", service)), service


async def adopts(engine: ManagedEngine, bundle: Bundle) -> str:
    """What comes of it."""
    try:
        await engine.adopt(bundle)
    except PolicyAwaited:
        return "awaited"
    except EngineUnavailable:
        return "given up"
    return "in force"


@pytest.mark.parametrize(
    ("by", "canaries", "what"),
    [
        (NEW, "right", "in force"), (NEW, "silent", "awaited"), (NEW, "half", "awaited"), (NEW, "away", "awaited"),
        (NEW, "wrong", "given up"), (OLD, "right", "given up"), (OLD, "silent", "awaited"), (OLD, "wrong", "given up"),
        (OLD, "no decision", "awaited"), (Bundle("revision-6", 6, {}, OLD.terms), "right", "awaited"),
    ],
)  # fmt: skip
def test_an_old_policy_is_published_again_only_where_the_engine_showed_that_it_needs_to_be(
    by: Bundle, canaries: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed, "ADOPT_SECONDS", 0.02)

    async def test() -> None:
        world = World()
        await world.engine.until_ready()
        engine, service = governed(world)
        world.opa.by, world.opa.canaries = by, CANARIES[canaries]
        assert await adopts(engine, NEW) == what
        assert service.published.etag == str((OLD if what == "given up" else NEW).serial)
        assert (world.engine.bundle is NEW) == (what == "in force")

    asyncio.run(test())


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("adopt"), st.sampled_from([2, 3, 4])),
        st.tuples(st.just("give up"), st.just(0)),
        st.tuples(st.just("loads"), st.just(0)),  # the engine takes what is published
        st.tuples(st.just("canaries"), st.sampled_from(sorted(CANARIES))),
        st.tuples(st.just("beat"), st.just(0)),
        st.tuples(st.just("ask"), st.just(0)),
    ),
    max_size=25,
)


@given(STEPS)
def test_whatever_an_engine_does_only_the_policy_in_force_gives_answers_that_count(
    steps: list[tuple[str, int | str]],
) -> None:
    """The adversary chooses when the engine loads, when it is silent, and when it is wrong."""

    async def test() -> None:
        world = World()
        await world.engine.until_ready()
        engine, service = governed(world)
        by_serial = {OLD.serial: OLD}
        for what, which in steps:
            match what:
                case "adopt":
                    bundle = Bundle(f"revision {which}", OLD.serial + int(which), {}, OLD.terms)
                    by_serial[bundle.serial] = bundle
                    before, loaded = world.engine.bundle, world.opa.by
                    outcome = await adopts(engine, bundle)
                    if outcome == "given up":
                        # Only what was heard takes a policy back: an answer by the old one, or a wrong one.
                        is_wrong = world.opa.canaries == CANARIES["wrong"]
                        assert is_wrong or (world.opa.canaries == RIGHT and loaded.serial == before.serial)
                        assert service.published.etag == str(before.serial)
                    elif outcome == "awaited":
                        assert service.published.etag == str(bundle.serial)
                        assert world.engine.bundle is before
                    else:
                        assert (world.engine.bundle.serial, loaded.serial) == (bundle.serial, bundle.serial)
                case "give up":
                    engine.give_up()
                    assert service.published.etag == str(world.engine.bundle.serial)
                case "loads":
                    world.opa.by = by_serial[int(service.published.etag)]
                case "canaries":
                    world.opa.canaries = CANARIES[str(which)]
                case "beat":
                    await world.engine._canary()
                case "ask":
                    asking = asyncio.create_task(world.ask(world.engine.bundle))
                    for _ in range(3):
                        await asyncio.sleep(0)
                    await world.engine._canary()  # no question waits for longer than a proof after it
                    answer = await asyncio.wait_for(asking, 10)
                    if answer == "allow":
                        assert world.opa.by.serial == world.engine.bundle.serial

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(managed, "ADOPT_SECONDS", 0.0)
        asyncio.run(test())


def test_a_heartbeat_puts_in_force_what_is_awaited_and_questions_are_put_again_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(managed, "ADOPT_SECONDS", 0.0)

    async def test() -> None:
        world = World()
        await world.engine.until_ready()
        engine, _ = governed(world)
        world.opa.by, world.opa.canaries = NEW, CANARIES["silent"]
        assert await adopts(engine, NEW) == "awaited"
        waiting = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        assert not await world.engine._canary()
        assert await waiting == "timeout", "the newer policy has answered it, and is not proved"
        world.opa.canaries = RIGHT
        early = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        assert await world.engine._canary()
        assert (await early, world.engine.bundle) == ("superseded", NEW)
        await engine.adopt(NEW)  # nothing is left to do

    asyncio.run(test())


OPEN = bundle_of("tools: {t: {rules: []}}")
CLOSED = bundle_of("tools: {t: {rules: [{action: deny, reason: No}]}}", 2)
CLOSED_TOO = bundle_of("tools: {t: {rules: [{action: deny, reason: Not}]}}", 3)
BODY = body_of(OPEN, "t", "{}")


@asynccontextmanager
async def local() -> AsyncIterator[ManagedEngine]:
    async with local_engine(
        OPA, OPEN, server="stub", timeout=0.5, remember=True, emit=lambda _: None, said=lambda _: None
    ) as running:
        yield running
    await all_ended()


async def decided(running: ManagedEngine) -> str:
    """What a call gets, as soon as it gets an answer that counts."""
    engine = running.engine
    async with asyncio.timeout(10):
        while True:
            try:
                return (engine.recall(BODY) or await asked(engine, BODY, engine.bundle)).decision.action
            except (Superseded, EngineUnavailable):  # it may still answer by the policy that was given up
                await asyncio.sleep(0.01)


async def stays_silent(running: ManagedEngine, bundle: Bundle) -> None:
    """An OPA that is stopped meanwhile does not answer by a policy that it was told of."""
    with stopped(opa_pid()), pytest.raises(PolicyAwaited):
        await running.adopt(bundle)


def test_an_opa_that_was_silent_decides_by_the_new_policy_when_it_answers_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(managed, "ADOPT_SECONDS", 0.1)

    async def test() -> None:
        async with local() as running:
            assert await decided(running) == "allow"
            await stays_silent(running, CLOSED)
            await soon(lambda: running.engine.bundle is CLOSED)
            assert await decided(running) == "deny"
            os.kill(opa_pid(), signal.SIGKILL)  # one that starts now gets the new one too
            await soon(lambda: not running.engine.ready)
            await soon(lambda: running.engine.ready)
            assert await decided(running) == "deny"

    uvloop.run(test())


def test_another_policy_takes_the_place_of_one_that_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "ADOPT_SECONDS", 0.1)

    async def test() -> None:
        async with local() as running:
            with stopped(opa_pid()):
                for bundle in (CLOSED, CLOSED_TOO):
                    with pytest.raises(PolicyAwaited):
                        await running.adopt(bundle)
            await soon(lambda: running.engine.bundle is CLOSED_TOO)
            assert await decided(running) == "deny"

    uvloop.run(test())


def test_a_policy_that_is_awaited_can_be_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "ADOPT_SECONDS", 0.1)

    async def test() -> None:
        async with local() as running:
            with stopped(opa_pid()):
                with pytest.raises(PolicyAwaited):
                    await running.adopt(CLOSED)
                running.give_up()
            await soon(lambda: running.engine.ready)
            assert running.engine.bundle is OPEN
            assert await decided(running) == "allow"

    uvloop.run(test())
