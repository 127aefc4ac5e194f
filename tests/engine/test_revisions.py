"""Which policy's answers count: the one in force, until both canaries prove the newer one that was published."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from sidecar.decision.decision import Answer
from sidecar.engine.client import EngineClient
from sidecar.engine.connection import EngineReply
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable, Superseded
from sidecar.events import EngineFailed, EngineReady, Event
from sidecar.policy.bundle import Bundle
from sidecar.policy.names import CANARY_ALLOWED
from tests.engine.asking import NOTHING, asked

OLD, NEW = (Bundle(f"revision-{serial}", serial, {}, NOTHING) for serial in (7, 8))
BODY = b'{"input":{"tool":"t"}}'
DENIAL = {
    "action": "deny", "kind": "rule", "rule": "r", "reason": "No",
    "violations": [{"rule": "r", "reason": "No", "kind": "rule", "monitor": False}],
}  # fmt: skip
ALLOWANCE = {"action": "allow", "kind": "allow", "rule": "", "reason": "", "violations": []}


class FakeAsker:
    """Answers by the policy `by`; canaries rightly, anything else with `decision`."""

    def __init__(self) -> None:
        self.by: tuple[str, int] = (OLD.revision, OLD.serial)
        self.decision: dict[str, Any] = ALLOWANCE

    def put(self, body: bytes, decision_id: str, done: Callable[[EngineReply], None]) -> None:
        done(self._reply(body, decision_id))

    async def ask(self, body: bytes, decision_id: str) -> bytes:
        return self._reply(body, decision_id)

    def _reply(self, body: bytes, decision_id: str) -> bytes:
        asked = json.loads(body)["input"]
        stamp = {"version": 1, "revision": self.by[0], "serial": self.by[1]}
        if "tools" in asked:
            return json.dumps({"result": stamp | {"visible": asked["tools"], "hidden": {}}}).encode()
        decision = self.decision
        if decision_id == "canary":
            decision = ALLOWANCE if asked["tool"] == CANARY_ALLOWED else DENIAL
        return json.dumps({"result": stamp | decision | {"reserve": [], "approval": None}}).encode()

    def answer_by(self, bundle: Bundle) -> None:
        self.by = (bundle.revision, bundle.serial)


class ProvedEngine:
    """An engine that was proved alive, in front of the fake."""

    def __init__(self) -> None:
        self.opa = FakeAsker()
        self.events: list[Event] = []
        self.engine = Engine("", OLD, server="stub", timeout=1, remember=True, emit=self.events.append)
        self.engine._client = cast("EngineClient", self.opa)

    async def ask(self, bundle: Bundle = OLD, *, lasting: bool = True) -> Answer:
        return await asked(self.engine, BODY, bundle, lasting=lasting)

    async def asks(self, bundle: Bundle = OLD) -> str:
        """What an answer that is no answer is."""
        with pytest.raises(EngineUnavailable) as caught:
            await self.ask(bundle)
        return caught.value.kind


def run(test: Callable[[ProvedEngine], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        world = ProvedEngine()
        await world.engine.until_ready()
        await test(world)

    asyncio.run(inside())


OTHERS = [
    (OLD.revision, OLD.serial - 1), (OLD.revision, OLD.serial + 1), ("another", OLD.serial), ("", OLD.serial),
    ("another", OLD.serial - 1), (NEW.revision, NEW.serial), (NEW.revision, OLD.serial), (OLD.revision, NEW.serial),
]  # fmt: skip


@pytest.mark.parametrize("by", OTHERS, ids=str)
@pytest.mark.parametrize("decision", [ALLOWANCE, DENIAL], ids=["allow", "deny"])
def test_an_answer_by_another_policy_is_no_answer_and_not_remembered(by: tuple[str, int], decision: Any) -> None:
    async def test(world: ProvedEngine) -> None:
        world.opa.by, world.opa.decision = by, decision
        assert await world.asks() == "revision"
        assert world.engine.bundle is OLD
        assert world.engine.recall(BODY) is None
        assert [event.kind for event in world.events if isinstance(event, EngineFailed)] == ["revision"]
        with pytest.raises(EngineUnavailable):
            await world.engine.ask_visible(b'{"input":{"tools":["a"]}}', ["a"], OLD, "id")

    run(test)


@pytest.mark.parametrize("by", [item for item in OTHERS if item != (NEW.revision, NEW.serial)], ids=str)
def test_while_a_newer_policy_is_expected_only_exactly_that_one_comes_into_force(by: tuple[str, int]) -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        world.opa.by = by
        assert await world.asks() == "revision"
        assert world.engine.bundle is OLD

    run(test)


def test_until_the_newer_policy_answers_the_older_one_decides() -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        assert (await world.ask()).decision.revision == OLD.revision
        assert world.engine.bundle is OLD

    run(test)


def test_both_canaries_bring_the_newer_policy_into_force_and_supersede_what_it_answered_before() -> None:
    async def test(world: ProvedEngine) -> None:
        await world.ask()
        assert world.engine.recall(BODY) is not None
        world.engine.expect(NEW)
        world.opa.answer_by(NEW)
        early = [asyncio.create_task(world.ask()) for _ in range(2)]
        await asyncio.sleep(0)
        assert world.engine.bundle is OLD
        await world.engine.until_in_force(NEW, 10.0)
        assert world.engine.bundle is NEW
        assert world.events[-1] == EngineReady("stub", NEW.revision, NEW.serial, NOTHING)
        for question in early:
            with pytest.raises(Superseded):
                await question
        assert world.engine.recall(BODY) is None
        assert (await world.ask(NEW)).decision.revision == NEW.revision
        assert not [event for event in world.events if isinstance(event, EngineFailed)]

    run(test)


def test_an_early_answer_about_a_list_is_superseded_too() -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        world.opa.answer_by(NEW)
        body, tools = b'{"input":{"tools":["a"]}}', ["a"]
        early = asyncio.create_task(world.engine.ask_visible(body, tools, OLD, "id"))
        await asyncio.sleep(0)
        await world.engine.until_in_force(NEW, 10.0)
        with pytest.raises(Superseded):
            await early
        assert (await world.engine.ask_visible(body, tools, NEW, "id")).revision == NEW.revision

    run(test)


def test_a_late_answer_of_the_older_policy_is_superseded_and_not_remembered() -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        world.opa.answer_by(NEW)
        await world.engine.until_in_force(NEW, 10.0)
        world.opa.answer_by(OLD)
        with pytest.raises(Superseded):
            await world.ask(OLD)
        assert await world.asks(NEW) == "revision"
        assert world.engine.recall(BODY) is None

    run(test)


def test_a_policy_that_was_given_up_does_not_come_into_force_any_more() -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        world.engine.give_up()
        world.opa.answer_by(NEW)
        assert await world.asks() == "revision"
        assert world.engine.bundle is OLD
        world.opa.answer_by(OLD)
        assert (await world.ask()).decision.action == "allow"

    run(test)


def test_what_a_policy_answered_that_is_given_up_is_asked_again() -> None:
    async def test(world: ProvedEngine) -> None:
        world.engine.expect(NEW)
        world.opa.answer_by(NEW)
        early = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        world.engine.give_up()
        with pytest.raises(Superseded):
            await early

    run(test)


def test_the_same_content_under_a_higher_serial_is_another_policy() -> None:
    async def test(world: ProvedEngine) -> None:
        again = dataclasses.replace(OLD, serial=9)
        world.engine.expect(again)
        world.opa.answer_by(again)
        await world.engine.until_in_force(again, 10.0)
        assert world.engine.bundle is again

    run(test)


@pytest.mark.parametrize("lasting", [True, False])
def test_only_an_answer_that_lasts_is_remembered(lasting: bool) -> None:
    async def test(world: ProvedEngine) -> None:
        await world.ask(lasting=lasting)
        assert (world.engine.recall(BODY) is not None) is lasting

    run(test)
