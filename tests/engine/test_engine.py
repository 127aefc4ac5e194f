"""The engine with the real OPA: ready by proof, silent the moment it may be gone."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Answer
from sidecar.decision.question import question
from sidecar.enforce.gate import Gate
from sidecar.enforce.verdict import Forward, Verdict
from sidecar.engine import engine as engine_module
from sidecar.engine.decision_cache import DecisionCache
from sidecar.engine.engine import Engine
from sidecar.engine.local import local_engine
from sidecar.engine.managed import ManagedEngine
from sidecar.errors import EngineUnavailable, StartError
from sidecar.events import EngineFailed, EngineReady, Event
from sidecar.mcp.strict_json import encode
from tests.enforce.fakes import KEY, FakeLedger
from tests.engine.asking import all_ended, asked, body_of, bundle_of, opa_pid, opa_socket, soon, tool_call
from tests.support import OPA
from tests.support.peer import child_pids, command_line, is_alive, kill, stopped

BUNDLE = bundle_of("""
tools:
  t:
    rules:
      - conditions: [{path: args.a, op: lte, value: 5}]
      - conditions: [{path: args.b.c, op: not_in, value: [x, 1, true, null]}]
      - conditions: [{path: args.d, op: regex, value: "^[a-z]*$"}]
  "*":
    rules:
      - conditions: [{path: args.e, op: neq, value: 0}]
""")
ALLOWED = body_of(BUNDLE, "t", '{"a":5,"b":{"c":2},"d":"abc","e":1}')
REFUSED = body_of(BUNDLE, "t", '{"a":6,"b":{"c":2},"d":"abc","e":1}')


class Running:
    """An engine with everything that it said and did."""

    def __init__(self, local: ManagedEngine, events: list[Event], said: list[str]) -> None:
        self.local = local
        self.events = events
        self.said = said

    @property
    def engine(self) -> Engine:
        """What is asked."""
        return self.local.engine

    def count(self, kind: type[Event]) -> int:
        """How often something happened."""
        return sum(isinstance(event, kind) for event in self.events)

    async def ask(self, body: bytes) -> Answer:
        """The answer to a lasting question under the policy in force."""
        return await asked(self.engine, body, self.engine.bundle)

    async def asks(self, body: bytes) -> str:
        """What the engine answers, or the kind of its failure."""
        try:
            return (await self.ask(body)).decision.action
        except EngineUnavailable as error:
            return error.kind


@asynccontextmanager
async def running(timeout: float = 5.0, *, remember: bool = True) -> AsyncIterator[Running]:
    events, said = list[Event](), list[str]()
    async with local_engine(
        OPA, BUNDLE, server="stub", timeout=timeout, remember=remember, emit=events.append, said=said.append
    ) as local:
        yield Running(local, events, said)
    await all_ended()


def test_an_engine_is_ready_once_both_canaries_proved_it() -> None:
    async def test() -> None:
        async with running() as world:
            assert world.engine.ready
            (event,) = world.events
            assert isinstance(event, EngineReady)
            assert (event.revision, event.serial) == (BUNDLE.revision, BUNDLE.serial)
            assert world.said == []

    uvloop.run(test())


@pytest.mark.parametrize("canary", ["allow", "deny"])
def test_an_engine_that_answers_one_canary_wrongly_is_not_ready(canary: str) -> None:
    async def test() -> None:
        async with running() as world:
            engine = world.engine
            engine._canaries[canary] = REFUSED if canary == "allow" else ALLOWED
            await soon(lambda: world.count(EngineFailed))
            await soon(lambda: not engine.ready)
            assert world.events[-1] == EngineFailed(
                "stub", "canary", f"the canary that must get {canary} got another answer"
            )

    uvloop.run(test())


def test_an_engine_gives_the_decisions_of_the_policy_and_remembers_them() -> None:
    async def test() -> None:
        async with running() as world:
            assert world.engine.recall(ALLOWED) is None
            answer = await world.ask(ALLOWED)
            assert (answer.decision.action, answer.remembered) == ("allow", False)
            refusal = await world.ask(REFUSED)
            assert (refusal.decision.action, refusal.decision.rule, refusal.remembered) == ("deny", "t#1", False)
            for body, fresh in ((ALLOWED, answer), (REFUSED, refusal)):
                again = world.engine.recall(body)
                assert again is not None
                assert (again.decision, again.remembered) == (fresh.decision, True)

    uvloop.run(test())


def test_equal_calls_just_after_a_connection_was_lost_share_one_fresh_answer() -> None:
    async def test() -> None:
        async with running() as world:
            gate = Gate(
                server="stub",
                instance="i",
                decider=world.engine,
                ledger=FakeLedger(),
                emit=world.events.append,
                key=KEY,
            )
            verdicts: list[Verdict] = []
            world.engine.lost()  # until the next heartbeat nothing that was asked before counts
            for _ in range(32):
                gate.judge(tool_call("t", '{"a":5,"b":{"c":2},"d":"abc","e":1}'), Caller("s"), verdicts.append)
            await soon(lambda: len(verdicts) == 32)
            assert [type(verdict) for verdict in verdicts] == [Forward] * 32

    uvloop.run(test())


def test_a_defect_in_keeping_an_answer_refuses_the_call_and_leaves_none_unanswered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise AssertionError("a defect")

    async def test() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: None)
        async with running() as world:
            monkeypatch.setattr(DecisionCache, "keep", broken)
            assert await asyncio.wait_for(world.asks(ALLOWED), 10) == "reply"

    uvloop.run(test())


def test_an_engine_told_not_to_remember_does_not() -> None:
    async def test() -> None:
        async with running(remember=False) as world:
            await world.ask(ALLOWED)
            assert world.engine.recall(ALLOWED) is None

    uvloop.run(test())


@pytest.mark.parametrize("change", [{"serial": 2}, {"revision": "another"}])
def test_an_answer_by_another_policy_is_no_answer(change: dict[str, object]) -> None:
    async def test() -> None:
        async with running() as world:
            world.engine.bundle = dataclasses.replace(BUNDLE, **change)  # type: ignore[arg-type] # one of two fields
            assert await world.asks(ALLOWED) == "revision"
            assert world.engine.recall(ALLOWED) is None
            await soon(lambda: not world.engine.ready)
            world.engine.bundle = BUNDLE
            await soon(lambda: world.count(EngineReady) == 2)
            assert await world.asks(ALLOWED) == "allow"

    uvloop.run(test())


def test_nothing_remembered_is_used_from_the_moment_the_engine_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "ALIVE", 3600.0)  # so that it is not age that makes it forget

    async def test() -> None:
        async with running() as world:
            await world.ask(ALLOWED)
            assert world.engine.recall(ALLOWED) is not None
            pid = opa_pid()
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: world.engine.recall(ALLOWED) is None)
            assert await world.asks(ALLOWED) == "connection"
            assert world.engine.recall(ALLOWED) is None

    uvloop.run(test())


def test_what_was_recalled_is_not_confirmed_once_the_engine_died() -> None:
    async def test() -> None:
        async with running() as world:
            await world.ask(ALLOWED)
            assert world.engine.confirm()
            # All this in one pass of the event loop: nothing told the engine of the death.
            kill(opa_pid())
            assert world.engine.recall(ALLOWED) is not None
            assert not world.engine.confirm()
            assert world.engine.recall(ALLOWED) is None

    uvloop.run(test())


def test_a_killed_engine_is_started_again_and_ready_by_itself() -> None:
    async def test() -> None:
        async with running() as world:
            pid = opa_pid()
            os.kill(pid, signal.SIGKILL)
            await soon(lambda: world.count(EngineReady) == 2)
            assert opa_pid() != pid
            assert world.engine.ready
            assert await world.asks(ALLOWED) == "allow"
            failures = [event for event in world.events if isinstance(event, EngineFailed)]
            assert "opa ended with status 137; it is started again" in [event.text for event in failures]

    uvloop.run(test())


def test_an_engine_that_is_killed_again_and_again_comes_back_each_time() -> None:
    async def test() -> None:
        async with running() as world:
            for times in range(2, 5):
                os.kill(opa_pid(), signal.SIGKILL)
                await soon(lambda: world.count(EngineReady) >= times)  # noqa: B023 - used before the next turn
            assert await world.asks(REFUSED) == "deny"

    uvloop.run(test())


def test_within_a_second_nothing_remembered_is_used_of_an_engine_that_hangs() -> None:
    async def test() -> None:
        async with running(timeout=0.25) as world:
            await world.ask(ALLOWED)
            with stopped(opa_pid()):
                await soon(lambda: world.engine.recall(ALLOWED) is None, seconds=1.1)
                assert not world.engine.ready
                assert await world.asks(ALLOWED) == "timeout"
                await soon(lambda: world.count(EngineFailed))
            await soon(lambda: world.count(EngineReady) == 2)
            assert await world.asks(ALLOWED) == "allow"

    uvloop.run(test())


def test_a_question_to_an_engine_that_hangs_is_no_answer_after_the_time_out() -> None:
    async def test() -> None:
        async with running(timeout=0.25) as world:
            with stopped(opa_pid()):
                async with asyncio.timeout(5):
                    assert await world.asks(ALLOWED) == "timeout"

    uvloop.run(test())


def test_questions_at_once_get_what_each_gets_alone_and_one_that_opa_cannot_read_spoils_no_other() -> None:
    async def test() -> None:
        async with running(remember=False) as world:
            unreadable = ALLOWED.replace(b'"a":5', b'"a":1e1000000')
            bodies = [
                body_of(BUNDLE, "t", json.dumps({"a": number % 11, "b": {"c": 2}, "d": "abc", "e": 1}))
                for number in range(200)
            ]
            bodies[70:70] = [unreadable]
            found = await asyncio.gather(*map(world.asks, bodies))
            expected = ["allow" if number % 11 <= 5 else "deny" for number in range(200)]
            expected[70:70] = ["reply"]
            assert found == expected

    uvloop.run(test())


def test_the_token_stands_in_no_process_list_and_opa_listens_on_no_port() -> None:
    def check(pid: int, token: str) -> None:
        assert len(token) > 30
        assert token not in command_line(pid)
        assert token.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        sockets = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
        rows = [line.split() for table in tables for line in table]
        assert not [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in sockets]

    async def test() -> None:
        async with running():
            check(opa_pid(), (opa_socket().parent / "token").read_text())

    uvloop.run(test())


def test_the_socket_lies_where_nobody_else_may_enter_and_is_gone_after_the_end() -> None:
    async def test() -> None:
        async with running():
            path, pid = opa_socket(), opa_pid()
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            assert path.is_socket()
        assert not path.parent.exists()
        assert not is_alive(pid)

    uvloop.run(test())


def test_a_program_that_never_answers_is_a_failed_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.local.START_SECONDS", 0.3)
    mute = tmp_path / "opa"
    mute.write_text("#!/bin/sh\nexec sleep 600\n")
    mute.chmod(0o700)

    async def test() -> None:
        with pytest.raises(StartError, match=r"opa was not ready within 0\.3 s"):
            async with local_engine(
                mute, BUNDLE, server="stub", timeout=0.1, remember=True, emit=lambda _: None, said=lambda _: None
            ):
                pass  # pragma: no cover
        await soon(lambda: not [pid for pid in child_pids(os.getpid()) if "sleep 600" in command_line(pid)])

    uvloop.run(test())


def test_a_program_that_ends_at_once_is_a_failed_start_that_says_how_it_ended(tmp_path: Path) -> None:
    brief = tmp_path / "opa"
    brief.write_text("#!/bin/sh\necho 'Version: 1.22.4'\n")
    brief.chmod(0o700)
    events: list[Event] = []

    async def test() -> None:
        async with asyncio.timeout(20):
            with pytest.raises(
                StartError, match=r"opa does not run as a server: opa ended with status 0, 3 times; name"
            ):
                async with local_engine(
                    brief, BUNDLE, server="stub", timeout=0.1, remember=True, emit=events.append, said=lambda _: None
                ):
                    pass  # pragma: no cover
        assert len([event for event in events if isinstance(event, EngineFailed)]) == 3

    uvloop.run(test())


# What is remembered is what would be answered.


@pytest.fixture(scope="module")
def live() -> Iterator[Callable[[bytes, bytes], tuple[object, object, object]]]:
    """Asks one live engine: its answer to a question, what it then recalls, and its answer to another question."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        context = running()
        world = runner.run(context.__aenter__())

        async def ask(body: bytes, other: bytes) -> tuple[object, object, object]:
            await world.engine.until_ready()
            recalled = world.engine.recall(body)
            fresh = await world.ask(body)
            recalled = recalled or world.engine.recall(body)
            return fresh.decision, recalled and recalled.decision, (await world.ask(other)).decision

        yield lambda body, other: runner.run(ask(body, other))
        runner.run(context.__aexit__(None, None, None))


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([5.0, 5.5, 0.0, -0.0, 1e300, 2**53 + 1])
VALUES = st.recursive(
    SCALARS | st.sampled_from(["", "x", "1", "true", "abc", "5", "Aé\u202e\n"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abcde"), inner, max_size=2),
    max_leaves=4,
)
ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={"a": VALUES, "b": VALUES | st.fixed_dictionaries({"c": VALUES}), "d": VALUES, "e": VALUES, "f": VALUES},
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["t", "u", "*", "T"]), ARGUMENTS)
def test_a_remembered_answer_is_the_answer_to_the_whole_call(
    live: Callable[[bytes, bytes], tuple[object, object, object]], tool: str, arguments: dict[str, object]
) -> None:
    body = body_of(BUNDLE, tool, encode(arguments).decode())
    fresh, recalled, whole = live(body, question("stub", tool, arguments))
    assert recalled == fresh == whole
