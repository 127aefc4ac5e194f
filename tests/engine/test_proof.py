"""The proof that an engine decides by our policy: both canaries. Without it no answer counts, to calls and to lists."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from sidecar.decision.decision import Answer
from sidecar.engine import engine as engine_module
from sidecar.engine.client import CANARY, EngineClient
from sidecar.engine.connection import EngineReply
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable, Superseded
from sidecar.events import EngineFailed, EngineReady, Event
from sidecar.policy.bundle import Bundle
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED
from tests.engine.asking import NOTHING, asked, soon

OLD, NEW = (Bundle(f"revision-{serial}", serial, {}, NOTHING) for serial in (7, 8))
BODY, LIST = b'{"input":{"tool":"t"}}', b'{"input":{"tools":["a"]}}'
DENIAL = {
    "action": "deny", "kind": "rule", "rule": "r", "reason": "No",
    "violations": [{"rule": "r", "reason": "No", "kind": "rule", "monitor": False}],
}  # fmt: skip
ALLOWANCE = {"action": "allow", "kind": "allow", "rule": "", "reason": "", "violations": []}
RIGHT: dict[str, Any] = {CANARY_ALLOWED: ALLOWANCE, CANARY_DENIED: DENIAL}

WRONG = {
    "allowed": (CANARY_DENIED, ALLOWANCE, "canary"),
    "denied": (CANARY_ALLOWED, DENIAL, "canary"),
    "another revision": (CANARY_DENIED, DENIAL | {"revision": "another"}, "revision"),
    "another serial": (CANARY_ALLOWED, ALLOWANCE | {"serial": 6}, "revision"),
    "undecided": (CANARY_DENIED, DENIAL | {"kind": "undecided"}, "undecided"),
    "no decision": (CANARY_DENIED, {}, "shape"),
    "an error": (CANARY_ALLOWED, EngineUnavailable("reply", "its status is 500"), "reply"),
    "another version": (CANARY_ALLOWED, EngineUnavailable("version", "it is OPA 1.4.0"), "version"),
}
"""The canary, what it gets, and what is said of that."""


class FakeOpa:
    """Allows everything by the policy `by`, and answers each canary as `canaries` says; `held` questions wait."""

    is_connected = True

    def __init__(self) -> None:
        self.by = OLD
        self.canaries = dict(RIGHT)
        self.held: list[Callable[[], None]] | None = None
        self.asked = 0
        self.ids: set[str] = set()

    def close(self) -> None:
        """Nothing is in flight."""

    def is_whole(self) -> bool:
        return True

    def put(self, body: bytes, decision_id: str, done: Callable[[EngineReply], None]) -> None:
        if self.held is None:
            done(self._reply(body))
        else:
            self.held.append(lambda: done(self._reply(body)))

    async def ask(self, body: bytes, decision_id: str) -> bytes:
        await asyncio.sleep(0)
        reply = self._reply(body)
        self.asked += 1
        self.ids.add(decision_id)
        if isinstance(reply, EngineUnavailable):
            raise reply
        return reply

    def release(self) -> None:
        held, self.held = self.held or [], None
        for answer in held:
            answer()

    def _reply(self, body: bytes) -> EngineReply:
        asked = json.loads(body)["input"]
        stamp = {"version": 1, "revision": self.by.revision, "serial": self.by.serial}
        if "tools" in asked:
            return json.dumps({"result": stamp | {"visible": asked["tools"], "hidden": {}}}).encode()
        decision = self.canaries.get(asked["tool"], ALLOWANCE)
        if isinstance(decision, EngineUnavailable):
            return decision
        return json.dumps({"result": stamp | {"reserve": [], "approval": None} | decision}).encode()


class World:
    """An engine in front of the fake, with what it said."""

    def __init__(self) -> None:
        self.opa = FakeOpa()
        self.events: list[Event] = []
        self.engine = Engine("", OLD, server="stub", timeout=1, remember=True, emit=self.events.append)
        self.engine._client = cast("EngineClient", self.opa)

    async def ask(self, bundle: Bundle = OLD) -> str:
        """What a question about a call gets: an action, the kind of failure, or that it has to be put again."""
        try:
            return (await asked(self.engine, BODY, bundle)).decision.action
        except EngineUnavailable as error:
            return error.kind
        except Superseded:
            return "superseded"

    async def ask_list(self, bundle: Bundle = OLD) -> str:
        """What a question about a list gets."""
        try:
            return " ".join((await self.engine.ask_visible(LIST, ["a"], bundle, "id")).visible)
        except EngineUnavailable as error:
            return error.kind

    def recalled(self) -> Answer | None:
        return self.engine.recall(BODY)


def run(test: Callable[[World], Coroutine[Any, Any, None]], *, proved: bool = True) -> None:
    async def inside() -> None:
        world = World()
        if proved:
            await world.engine.until_ready()
        await test(world)

    asyncio.run(inside())


def test_no_answer_counts_before_both_canaries_were_answered() -> None:
    async def test(world: World) -> None:
        assert (await world.ask(), await world.ask_list()) == ("canary", "canary")
        assert [event.kind for event in world.events if isinstance(event, EngineFailed)] == ["canary", "canary"]
        await world.engine.until_ready()
        assert (await world.ask(), await world.ask_list()) == ("allow", "a")

    run(test, proved=False)


def test_a_canary_has_the_id_by_which_the_client_puts_it_in_front() -> None:
    async def test(world: World) -> None:
        assert world.opa.ids == {CANARY}

    run(test)


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize("proved", [False, True], ids=["from-the-start", "later"])
def test_after_a_wrong_canary_no_answer_counts_until_both_are_right(how: str, proved: bool) -> None:
    canary, answer, kind = WRONG[how]

    async def test(world: World) -> None:
        if proved:
            assert await world.ask() == "allow"
            assert world.recalled() is not None
        world.opa.canaries[canary] = answer
        assert not await world.engine._canary()
        assert (await world.ask(), await world.ask_list()) == (kind, kind)
        assert world.recalled() is None
        assert not world.engine.confirm()
        assert not world.engine.ready
        world.opa.canaries = dict(RIGHT)
        assert await world.engine._canary()
        assert isinstance(world.events[-1], EngineReady)
        assert (await world.ask(), await world.ask_list()) == ("allow", "a")

    run(test, proved=proved)


def test_an_answer_counts_no_more_that_was_asked_before_a_canary_failed_and_comes_after() -> None:
    async def test(world: World) -> None:
        world.opa.held = []
        question = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        world.opa.canaries[CANARY_DENIED] = ALLOWANCE
        assert not await world.engine._canary()
        world.opa.release()
        assert await question == "canary"

    run(test)


@pytest.mark.parametrize("kind", ["timeout", "connection"])
def test_a_canary_that_gets_no_answer_refutes_nothing(kind: str) -> None:
    async def test(world: World) -> None:
        world.opa.canaries[CANARY_DENIED] = EngineUnavailable(kind, "busy")
        assert not await world.engine._canary()
        assert (await world.ask(), await world.ask_list()) == ("allow", "a")

    run(test)


@pytest.mark.parametrize("kind", ["timeout", "connection"])
def test_a_canary_that_gets_no_answer_proves_nothing(kind: str) -> None:
    async def test(world: World) -> None:
        world.opa.canaries[CANARY_DENIED] = EngineUnavailable(kind, "busy")
        assert not await world.engine._canary()
        assert await world.ask() == "canary"

    run(test, proved=False)


def test_an_engine_that_closed_its_last_connection_is_proved_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BEAT", 3600.0)

    async def test(world: World) -> None:
        heart = asyncio.create_task(world.engine.beat())
        await asyncio.sleep(0)
        world.engine.lost()  # others are left: the same program answers on
        assert await world.ask() == "allow"
        world.opa.is_connected = False
        world.engine.lost()
        assert (await world.ask(), await world.ask_list()) == ("connection", "connection")
        await soon(lambda: world.engine.ready)
        assert await world.ask() == "allow"
        heart.cancel()

    run(test)


def test_half_of_a_proof_from_before_a_loss_proves_nothing() -> None:
    async def test(world: World) -> None:
        world.opa.is_connected = False
        proving = asyncio.create_task(world.engine._canary())
        await asyncio.sleep(0)
        world.engine.lost()
        assert not await proving
        assert await world.ask() == "connection"

    run(test)


def test_a_newer_policy_whose_canary_is_wrong_does_not_come_into_force_and_nothing_counts_meanwhile() -> None:
    async def test(world: World) -> None:
        world.engine.expect(NEW)
        world.opa.by = NEW
        world.opa.canaries[CANARY_DENIED] = ALLOWANCE
        early = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        with pytest.raises(EngineUnavailable, match="the canary that must get deny got another answer"):
            await world.engine.until_in_force(NEW, 10.0)
        assert world.engine.bundle is OLD
        world.engine.give_up()
        assert await early == "superseded"
        assert await world.ask() == "canary"
        world.opa.by, world.opa.canaries = OLD, dict(RIGHT)
        await world.engine.until_ready()
        assert await world.ask() == "allow"

    run(test)


def test_a_question_that_the_newer_policy_answered_waits_no_longer_than_the_canaries_after_it() -> None:
    async def test(world: World) -> None:
        world.engine.expect(NEW)
        world.opa.by = NEW
        world.opa.canaries[CANARY_DENIED] = EngineUnavailable("timeout", "late")
        early, about_list = asyncio.create_task(world.ask()), asyncio.create_task(world.ask_list())
        await asyncio.sleep(0.001)
        coming = asyncio.create_task(world.engine.until_in_force(NEW, 10.0))
        assert (await asyncio.wait_for(early, 10), await asyncio.wait_for(about_list, 10)) == ("timeout", "timeout")
        assert world.engine.bundle is OLD
        world.opa.canaries = dict(RIGHT)
        await asyncio.wait_for(coming, 10)
        assert world.engine.bundle is NEW

    run(test)


def test_canaries_of_which_each_is_by_another_policy_prove_neither() -> None:
    async def test(world: World) -> None:
        world.engine.expect(NEW)
        before = world.opa.asked
        proving = asyncio.create_task(world.engine._canary())
        while world.opa.asked == before:  # noqa: ASYNC110 - between two canaries nothing happens that could be awaited
            await asyncio.sleep(0)
        world.opa.by = NEW
        assert not await proving
        assert world.engine.bundle is OLD
        assert await world.engine._canary()
        assert world.engine.bundle is NEW

    run(test)


def test_questions_that_still_wait_at_the_end_are_told() -> None:
    async def test(world: World) -> None:
        world.engine.expect(NEW)
        world.opa.by = NEW
        early = asyncio.create_task(world.ask())
        await asyncio.sleep(0)
        world.engine.close()
        assert await asyncio.wait_for(early, 10) == "connection"

    run(test)
