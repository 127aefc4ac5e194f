"""Another policy comes into force with the real OPA: at once for every call, or not at all."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvloop

from sidecar.auth.caller import Caller
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Verdict
from sidecar.engine import bundle_server
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.engine.sign import SigningKey, signed
from sidecar.errors import EngineUnavailable
from sidecar.events import Decided, EngineFailed, EngineReady, Event
from sidecar.policy.bundle import Bundle
from tests.enforce.fakes import KEY, FakeLedger
from tests.engine.asking import all_ended, asked, body_of, bundle_of, opa_pid, soon, tool_call
from tests.support import OPA


def denying(reason: str, serial: int) -> Bundle:
    return bundle_of(f"tools: {{t: {{rules: [{{action: deny, reason: {reason}}}]}}}}", serial)


OPEN = bundle_of("tools: {t: {rules: []}}")
FIRST, SECOND = denying("first", 2), denying("second", 3)
BODY = body_of(OPEN, "t", "{}")


@asynccontextmanager
async def local(events: list[Event], *, remember: bool = True) -> AsyncIterator[ManagedEngine]:
    """An engine that decides by `OPEN` at first."""
    async with local_engine(
        OPA, OPEN, server="stub", timeout=5.0, remember=remember, emit=events.append, said=lambda _: None
    ) as running:
        yield running
    await all_ended()


async def answer(running: ManagedEngine) -> str:
    """The revision that answers a question now, remembered or not."""
    engine = running.engine
    found = engine.recall(BODY) or await asked(engine, BODY, engine.bundle)
    return found.decision.revision


def test_calls_go_on_while_a_policy_is_made_ready_for_opa(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of ten thousand rules takes half a second."""
    threads: list[bool] = []

    def sign(files: dict[str, str], key: SigningKey) -> dict[str, str]:
        threads.append(threading.current_thread() is threading.main_thread())
        return signed(files, key)

    async def test() -> None:
        async with local([]) as running:
            monkeypatch.setattr(bundle_server, "signed", sign)
            await running.adopt(FIRST)
            assert threads == [False]
            assert await answer(running) == FIRST.revision

    uvloop.run(test())


def test_an_adopted_policy_is_in_force_and_what_was_remembered_is_forgotten() -> None:
    async def test() -> None:
        events: list[Event] = []
        async with local(events) as running:
            assert await answer(running) == OPEN.revision
            assert running.engine.recall(BODY) is not None
            for bundle in (FIRST, SECOND):
                await running.adopt(bundle)
                assert running.engine.bundle is bundle
                assert running.engine.recall(BODY) is None
                assert await answer(running) == bundle.revision
                assert running.engine.recall(BODY) is not None
            assert [event.serial for event in events if isinstance(event, EngineReady)] == [1, 2, 3]
            assert not [event for event in events if isinstance(event, EngineFailed)]

    uvloop.run(test())


def test_a_policy_is_adopted_that_came_while_the_engine_was_killed() -> None:
    async def test() -> None:
        async with local([]) as running:
            os.kill(opa_pid(), signal.SIGKILL)
            await running.adopt(FIRST)
            await soon(lambda: running.engine.ready)
            assert await answer(running) == FIRST.revision

    uvloop.run(test())


def test_an_engine_that_starts_again_still_has_the_adopted_policy() -> None:
    async def test() -> None:
        events: list[Event] = []
        async with local(events) as running:
            await running.adopt(FIRST)
            os.kill(opa_pid(), signal.SIGKILL)
            await soon(lambda: any(isinstance(event, EngineFailed) for event in events))
            await soon(lambda: running.engine.ready)
            assert await answer(running) == FIRST.revision

    uvloop.run(test())


def test_a_policy_that_opa_cannot_load_leaves_the_old_one_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.managed.ADOPT_SECONDS", 0.5)
    more = {"intercept/more.rego": "package intercept\n\nallowed if unknown_thing\n"}
    unloadable = dataclasses.replace(FIRST, files=FIRST.files | more)

    async def test() -> None:
        async with local([]) as running:
            await answer(running)
            with pytest.raises(EngineUnavailable, match="the old one stays in force"):
                await running.adopt(unloadable)
            assert running.engine.bundle is OPEN
            assert await answer(running) == OPEN.revision
            os.kill(opa_pid(), signal.SIGKILL)  # one that starts now gets the old one too
            await soon(lambda: not running.engine.ready)
            await soon(lambda: running.engine.ready)
            assert await answer(running) == OPEN.revision
            await running.adopt(SECOND)
            assert await answer(running) == SECOND.revision

    uvloop.run(test())


def test_a_policy_whose_canary_is_answered_wrongly_leaves_the_old_one_in_force() -> None:
    lie = 'package intercept.policy\n\nproved if input.tool == "intercept/canary-denied"\n'
    lying = dataclasses.replace(FIRST, files=FIRST.files | {"intercept/policy/lie.rego": lie})

    async def test() -> None:
        events: list[Event] = []
        async with local(events) as running:
            await answer(running)
            with pytest.raises(
                EngineUnavailable, match="the canary that must get deny got another answer; the old one"
            ):
                await running.adopt(lying)
            assert running.engine.bundle is OPEN
            await soon(lambda: running.engine.ready)
            assert await answer(running) == OPEN.revision
            assert [event.serial for event in events if isinstance(event, EngineReady)] == [1, 1]
            await running.adopt(SECOND)
            assert await answer(running) == SECOND.revision

    uvloop.run(test())


class Agent:
    """Calls the tool `t` again and again, up to 32 at once, until it is told to stop."""

    def __init__(self, gate: Gate) -> None:
        self.asked = 0
        self.verdicts: list[Verdict] = []
        self.stopping = False
        self._gate = gate

    async def work(self) -> None:
        while not self.stopping:
            self._gate.judge(tool_call("t", "{}"), Caller("s"), self.verdicts.append)
            self.asked += 1
            await soon(lambda: self.asked - len(self.verdicts) < 32)
        await self._gate.finish()


def test_calls_in_flight_while_policies_change_are_all_judged_and_each_by_one_policy() -> None:
    bundles = [denying(f"policy-{serial}", serial) for serial in range(2, 8)]
    events: list[Event] = []

    async def test() -> Agent:
        async with local(events, remember=False) as running:
            gate = Gate(
                server="stub", instance="i", decider=running.engine, ledger=FakeLedger(),
                emit=events.append, key=KEY,
            )  # fmt: skip
            caller = Agent(gate)
            calling = asyncio.create_task(caller.work())
            await soon(lambda: caller.verdicts)
            for bundle in bundles:
                before = caller.asked
                await running.adopt(bundle)
                await soon(lambda: caller.asked > before + 32)  # noqa: B023 - used before the next turn
            caller.stopping = True
            await calling
            return caller

    caller = uvloop.run(test())
    assert len(caller.verdicts) == caller.asked
    own_words = {f"policy-{bundle.serial}": bundle.revision for bundle in bundles} | {"allow": OPEN.revision}
    told = [event for event in events if isinstance(event, Decided)]
    assert len(told) == caller.asked
    assert all(own_words[event.ruling.reason or "allow"] == event.ruling.revision for event in told)
    assert {event.ruling.revision for event in told} == set(own_words.values())
