"""Large messages are read aside, in their turn: the event loop goes on, and what they say is what reading says."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.arguments import is_longer
from sidecar.mcp import jsonrpc, strict_json, tool_list
from sidecar.mcp.jsonrpc import Batch, Message
from sidecar.session import reading
from sidecar.session.route import Route
from sidecar.system.lines import TooLong
from sidecar.system.memory import MemoryBudget
from tests.mcp.calls import calls
from tests.session.fakes import MARKER, ObservedSession, encoded
from tests.support.fuzzing import examples

SECONDS = 10
PAD = "x" * (reading.LARGE + 1)


class Held:
    """Holds every large message in the middle of being read, until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.has_begun = threading.Event()
        self.begun: list[Any] = []
        self._read = jsonrpc.read

    def read(self, line: bytes) -> Message | Batch:
        if len(line) > reading.LARGE:
            self.begun.append(json.loads(line)["id"])
            self.has_begun.set()
            assert self.go.wait(SECONDS)
        return self._read(line)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    found = Held()
    monkeypatch.setattr(jsonrpc, "read", found.read)
    yield found
    found.go.set()


def large(id_: int, method: str = "ping", **params: Any) -> bytes:
    return encoded(id=id_, method=method, params={**params, "pad": PAD})


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * SECONDS):
            await test()

    asyncio.run(bounded())


async def passes(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_the_loop_goes_round_and_others_are_served_while_a_large_message_is_read(held: Held) -> None:
    async def test() -> None:
        one, other = ObservedSession(), ObservedSession()
        line = large(1)
        one.session.from_client(line)
        await passes()
        asked = other.ask(1)
        assert (one.server, other.server) == ([], [asked])
        held.go.set()
        await one.session.caught_up()
        assert one.server == [line]

    run(test)


def test_what_comes_after_a_large_message_from_the_same_side_waits_behind_it(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        lines = [large(1), encoded(id=2, method="ping", params={}), large(3), encoded(method="notifications/progress")]
        for line in lines:
            world.session.from_client(line)
        await passes()
        assert world.server == []
        held.go.set()
        await world.session.caught_up()
        assert world.server == lines
        assert world.ask(4) == world.server[-1]  # and after that nothing waits any more

    run(test)


def test_a_cancel_finds_the_large_call_that_came_before_it(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        world.session.from_client(large(1, "tools/call", name="look"))
        world.cancel(1)
        held.go.set()
        await world.session.caught_up()
        (trial,) = world.gate.trials
        assert trial.dropped
        assert world.server == []

    run(test)


def test_answers_keep_their_order_and_the_other_direction_goes_on(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        world.ask(1)
        world.ask(2)
        answers = [encoded(id=1, result={"pad": PAD}), encoded(id=2, result={})]
        for answer in answers:
            world.session.from_server(answer)
        world.ask(3)
        await passes()
        assert (len(world.server), world.client) == (3, [])
        held.go.set()
        await world.session.caught_up()
        assert world.client == answers

    run(test)


def test_one_large_message_is_read_at_a_time(held: Held) -> None:
    async def test() -> None:
        reader = reading.Reader()
        tasks = [asyncio.create_task(reader.read(large(number))) for number in range(3)]
        await passes()
        assert await asyncio.to_thread(held.has_begun.wait, SECONDS)
        await passes()
        assert len(held.begun) == 1
        held.go.set()
        assert [(await task)().id for task in tasks] == [0, 1, 2]  # type: ignore[union-attr, misc]

    run(test)


@pytest.mark.parametrize(
    ("principals", "order"),
    [
        # However many sessions a principal opens; of those who hold one of our tokens nobody knows who they are.
        ([Principal("a", "issuer")] * 3 + [Principal("b", "issuer")], [0, 3, 1, 2, 9]),
        ([Principal("token")] * 4, [0, 1, 2, 3, 9]),
        ([None] * 4, [0, 1, 2, 3, 9]),
    ],
)
def test_whoever_has_many_large_messages_holds_up_others_by_one_of_them(
    held: Held, principals: list[Principal | None], order: list[int]
) -> None:  # fmt: skip
    async def test() -> None:
        reader = reading.Reader()
        callers = [Caller(f"s-{number}", principal=whose) for number, whose in enumerate(principals)]
        worlds = [ObservedSession(reader=reader, caller=caller) for caller in callers]
        worlds[0].session.from_client(large(0))
        worlds[0].session.from_client(large(9))
        for number, world in enumerate(worlds[1:], 1):
            world.session.from_client(large(number))
        await passes()
        held.go.set()
        for world in worlds:
            await world.session.caught_up()
        assert held.begun == order

    run(test)


def test_what_nobody_wants_any_more_when_its_turn_comes_is_not_read(held: Held) -> None:
    async def test() -> None:
        reader = reading.Reader(room=MemoryBudget(1 << 30))
        first, second = ObservedSession(reader=reader), ObservedSession(reader=reader)
        first.session.from_client(large(1))
        second.session.from_client(large(2))
        await passes()
        second.session.close()
        held.go.set()
        for world in (first, second):
            await world.session.caught_up()
        assert (held.begun, second.server, reader.room.taken) == ([1], [], 0)

    run(test)


def test_the_client_waits_for_a_large_list_until_it_is_shown() -> None:
    async def test() -> None:
        world = ObservedSession()
        world.ask(1, "tools/list")
        tools = [{"name": "shown", "pad": PAD}, {"name": "hidden"}]
        world.session.from_server(encoded(id=1, result={"tools": tools}))
        while not world.gate.lists:
            await passes()
        end = asyncio.create_task(world.session.caught_up())
        await passes()
        assert (world.session.is_waiting, end.done()) == (True, False)
        world.gate.hide("hidden")
        await end
        assert (world.session.is_waiting, world.client) == (False, [encoded(id=1, result={"tools": tools[:1]})])

    run(test)


def test_a_list_counts_in_the_room_until_it_is_known_what_to_hide() -> None:
    async def test() -> None:
        reader = reading.Reader(room=MemoryBudget(1 << 30))
        world = ObservedSession(reader=reader)
        world.ask(1, "tools/list")
        line = world.answer(1, result={"tools": [{"name": "shown"}]})
        assert reader.room.taken >= len(line)
        world.gate.hide("hidden")
        assert reader.room.taken == 0

    run(test)


def test_a_defect_in_filtering_a_large_list_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> bytes:
        raise RuntimeError(MARKER)

    async def test() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        monkeypatch.setattr(tool_list, "filtered", fail)
        world = ObservedSession()
        world.ask(1, "tools/list")
        world.session.from_server(encoded(id=1, result={"tools": [{"name": "shown", "pad": PAD}]}))
        while not world.gate.lists:
            await passes()
        world.gate.hide("hidden")
        await world.session.caught_up()
        assert world.last_to_client["error"]["code"] == -32603
        assert (len(told), MARKER in str(world.client)) == (1, False)

    run(test)


def test_nothing_more_is_wanted_of_a_side_while_its_message_is_read(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        told: list[tuple[str, bool]] = []
        world.session.holds(lambda now: told.append(("client", now)), lambda now: told.append(("server", now)))
        world.session.from_client(large(1))
        world.session.from_client(large(2))
        assert told == [("client", True)]
        held.go.set()
        await world.session.caught_up()
        assert told == [("client", True), ("client", False)]

    run(test)


def test_a_session_that_ends_meanwhile_sends_nothing_and_lets_everybody_go(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        over: list[Any] = []
        route = Route(
            lambda message: world.client.append(message.raw), lambda message: world.server.append(message.raw),
            lambda: over.append("client"),
        )  # fmt: skip
        for number in (1, 2):
            world.session.from_client(large(number), route)
        world.session.from_server(encoded(id=1, result={"pad": PAD}), over.append)
        world.session.close()
        held.go.set()
        await world.session.caught_up()
        assert (world.server, world.client, world.events) == ([], [], [])
        assert sorted(map(str, over)) == ["None", "client", "client"]

    run(test)


def test_a_message_is_judged_as_of_whoever_sent_it(held: Held) -> None:
    async def test() -> None:
        world = ObservedSession()
        first, second = Principal("a", "i", {}), Principal("b", "i", {})
        for principal, line in ((first, large(1, "tools/call", name="look")), (second, world_call(2))):
            world.session.caller = replace(world.session.caller, principal=principal)
            world.session.from_client(line)
        held.go.set()
        await world.session.caught_up()
        assert [trial.caller.principal for trial in world.gate.trials] == [first, second]

    run(test)


def world_call(id_: int) -> bytes:
    return encoded(id=id_, method="tools/call", params={"name": "look"})


def test_what_waits_to_be_read_counts_in_the_room(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        room = MemoryBudget(1 << 30)
        lane = reading.Lane(reading.Reader(room=room))
        lines: list[reading.Line] = [large(1), TooLong(b"{", b"}", 5), large(2)]
        taken: list[reading.Read] = []
        for line in lines:
            lane.put(line, taken.append, lambda: None)
        await passes()
        assert room.taken == sum(map(len, lines))
        held.go.set()
        await lane.caught_up()
        assert (room.taken, len(taken)) == (0, 3)

    run(test)


def test_a_defect_with_one_message_ends_none_behind_it(held: Held) -> None:
    async def test() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        lane = reading.Lane(reading.Reader())
        taken: list[reading.Read] = []

        def fail(read: reading.Read) -> None:
            raise ValueError("a defect")

        lane.put(large(1), fail, lambda: None)
        lane.put(large(2), taken.append, lambda: None)
        held.go.set()
        await lane.caught_up()
        assert (len(told), len(taken)) == (1, 1)

    run(test)


def test_without_a_thread_it_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def test() -> None:
        world = ObservedSession()
        line = large(1)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        world.session.from_client(line)
        await world.session.caught_up()
        assert world.server == [line]

    run(test)


odd_lines = (
    st.binary(max_size=40) | calls() | calls().map(lambda line: line[:-1]) | calls().map(lambda line: b"[%b]" % line)
)


@examples(150)
@given(st.lists(odd_lines, max_size=4), st.booleans())
def test_what_is_read_aside_is_what_is_read_at_once(lines: list[bytes], from_client: bool) -> None:
    def of(world: ObservedSession) -> tuple[Any, ...]:
        calls_judged = [(trial.call.id, trial.call.arguments, trial.call.raw) for trial in world.gate.trials]
        return world.server, world.client, world.events, calls_judged

    def give(world: ObservedSession) -> ObservedSession:
        for line in lines:
            (world.session.from_client if from_client else world.session.from_server)(line)
        return world

    async def aside() -> ObservedSession:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reading, "LARGE", 0)
            world = give(ObservedSession(revision="2025-03-26"))
            await world.session.caught_up()
        return world

    assert of(asyncio.run(aside())) == of(give(ObservedSession(revision="2025-03-26")))


@examples(200)
@given(st.text(alphabet="a\u00e9\u0085\u2028\u2029\U0001f600\\", max_size=60), st.integers(1, 9))
def test_line_ends_are_escaped_alike_in_pieces_of_any_size(text: str, size: int) -> None:
    whole = strict_json.encode({"a": text})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_PIECE", size)
        assert strict_json.encode({"a": text}) == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@examples(200)
@given(json_values, st.integers(0, 60))
def test_what_is_told_to_be_longer_is_longer(value: Any, limit: int) -> None:
    if is_longer(value, limit):
        assert len(strict_json.encode(value)) > limit
