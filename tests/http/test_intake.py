"""What comes from servers and waits for clients takes room, is read slower where there is none, and gives all back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.downstream.hosted.replay_buffer import Stream, Unread
from sidecar.errors import StartError
from sidecar.system.intake import LONGEST, PATIENCE, SLOWEST, Intake
from sidecar.system.lines import LineReader, TooLong
from sidecar.system.memory import SMALL, Memory, MemoryBudget, Share, room_for

LONGEST_LINE: Final = 4 * SMALL
LIMIT: Final = 20 * SMALL
PIECE: Final = SMALL // 2
PLACES: Final = 6


class Clock(asyncio.SelectorEventLoop):
    """An event loop whose time is moved by hand."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Child:
    """What is read of one server: `said` are the lines that came."""

    def __init__(self, room: MemoryBudget) -> None:
        self.is_paused = False
        self.said: list[bytes | TooLong] = []
        self.lines = LineReader(LONGEST_LINE)
        self.intake = Intake(room, LONGEST_LINE, self._pause, self.lines.give_up)

    def says(self, data: bytes) -> bool:
        """It writes; False where nothing is read of it now."""
        if self.is_paused:
            return False
        self.said += self.lines.feed(data)
        self.intake.holds(self.lines.held)
        return True

    def _pause(self, stop: bool) -> None:
        self.is_paused = stop


class SharedRoom:
    """A room, servers that speak, and streams that clients read."""

    def __init__(self, loop: Clock) -> None:
        self.loop = loop
        self.room = MemoryBudget(LIMIT)
        self.unread = Unread(self.room)
        self.children = [Child(self.room) for _ in range(PLACES)]
        self.streams = [Stream(str(number), unread=self.unread) for number in range(PLACES)]
        self.others = Share(self.room)

    async def passes(self, seconds: float) -> None:
        """So much time passes."""
        self.loop.now += seconds
        for _ in range(5):
            await asyncio.sleep(0)

    def begin(self, child: int) -> None:
        """A server begins a line that is no small one."""
        for _ in range(3):
            self.children[child].says(b"x" * PIECE)

    async def do(self, what: str, which: int, size: int) -> None:
        """One event."""
        child, stream = self.children[which], self.streams[which]
        match what:
            case "speak":
                child.says(b"x" * size)
            case "end":
                child.says(b"\n")
            case "lose":
                child.intake.close()
                self.children[which] = Child(self.room)
            case "put":
                stream.put(b"x" * size)
            case "read":
                stream.read()
            case "next":
                if stream.taken < stream.count:
                    await stream.next(stream.taken)
            case "leave":
                stream.left()
            case "drop":
                stream.drop()
                self.streams[which] = Stream("anew", unread=self.unread)
                stream.left()
            case "hold":
                self.others.hold(size * 8)
            case "free":
                self.others.hold(0)
            case _:
                await self.passes(size / SMALL * LONGEST)

    def end(self) -> None:
        """Everything is over."""
        for child in self.children:
            child.intake.close()
        for stream in self.streams:
            stream.left()
            stream.drop()
        self.others.hold(0)


def run(test: Callable[[SharedRoom], Coroutine[Any, Any, None]]) -> None:
    """Run a test in a world of its own."""

    async def inside() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Clock)
        await test(SharedRoom(loop))

    with asyncio.Runner(loop_factory=Clock) as runner:
        runner.run(inside())


EVENTS = st.sampled_from(
    ("speak", "speak", "speak", "end", "lose", "put", "put", "read", "next", "leave", "drop", "hold", "free", "wait")
)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(EVENTS, st.integers(0, PLACES - 1), st.integers(1, SMALL)), max_size=60))
def test_whatever_happens_what_is_held_is_counted_and_given_back(events: list[tuple[str, int, int]]) -> None:
    async def test(world: SharedRoom) -> None:
        for event in events:
            await world.do(*event)
            held = sum(child.lines.held for child in world.children)
            kept = sum(len(message) for stream in world.streams for message in stream._messages)
            assert world.room.taken >= held + kept + world.others.size
        world.end()
        await world.passes(SLOWEST)
        assert (world.room.taken, world.room.waiting, world.unread.streams) == (0, {}, {})

    run(test)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(EVENTS, st.integers(0, PLACES - 1), st.integers(1, SMALL)), max_size=40))
def test_whatever_happened_nobody_waits_for_ever(events: list[tuple[str, int, int]]) -> None:
    async def test(world: SharedRoom) -> None:
        for event in events:
            await world.do(*event)
        for _ in range(3):
            await world.passes(LONGEST)
        assert not any(child.is_paused for child in world.children)
        world.end()

    run(test)


def test_a_line_for_which_there_is_no_room_is_read_on_once_there_is() -> None:
    async def test(world: SharedRoom) -> None:
        for number in range(4):
            world.begin(number)
        assert [child.is_paused for child in world.children[:4]] == [False, False, False, True]
        world.children[0].says(b"\n")
        await world.passes(0)
        assert not world.children[3].is_paused
        world.children[3].says(b"\n")
        assert world.children[3].said == [b"x" * PIECE * 3]
        world.end()

    run(test)


def test_what_is_small_is_read_while_larger_lines_wait() -> None:
    async def test(world: SharedRoom) -> None:
        for number in range(4):
            world.begin(number)
        assert world.children[4].says(b"x" * PIECE)
        assert not world.children[4].is_paused
        world.end()

    run(test)


def test_a_line_that_waits_for_too_long_is_given_up_with_the_reason() -> None:
    async def test(world: SharedRoom) -> None:
        for number in range(4):
            world.begin(number)
        await world.passes(PATIENCE)
        assert world.children[3].is_paused
        await world.passes(LONGEST - PATIENCE)
        late = world.children[3]
        assert late.says(b"yz\n")
        (line,) = late.said
        assert isinstance(line, TooLong)
        assert line.no_room
        assert line.tail.endswith(b"xyz")
        assert late.says(b"next\n")
        assert late.said[1:] == [b"next"]
        world.end()

    run(test)


def test_a_line_that_never_ends_is_given_up_where_another_waits_for_its_room() -> None:
    async def test(world: SharedRoom) -> None:
        for number in range(3):
            world.begin(number)
        await world.passes(SLOWEST - 1)
        world.begin(3)
        await world.passes(1)
        assert world.children[0].says(b"\n")
        (line,) = world.children[0].said
        assert isinstance(line, TooLong)
        assert not world.children[3].is_paused
        world.end()

    run(test)


def test_a_line_that_comes_slowly_is_read_to_its_end_where_nobody_needs_its_room() -> None:
    async def test(world: SharedRoom) -> None:
        world.begin(0)
        await world.passes(SLOWEST)
        assert world.children[0].says(b"\n")
        assert world.children[0].said == [b"x" * PIECE * 3]
        world.end()

    run(test)


def test_what_is_kept_for_clients_that_may_come_back_goes_before_others_are_refused() -> None:
    async def test(world: SharedRoom) -> None:
        for stream in world.streams[:4]:
            stream.put(b"x" * LONGEST_LINE)
        assert world.room.make(LONGEST_LINE)
        assert [stream.count for stream in world.streams[:4]] == [1, 1, 1, 1]
        assert world.room.taken == 2 * LONGEST_LINE
        world.streams[0].put(b"later")
        assert await world.streams[0].next(0) == (2, b"later")
        world.end()

    run(test)


def test_a_client_that_comes_back_for_what_is_lost_waits_for_what_comes() -> None:
    async def test(world: SharedRoom) -> None:
        stream = world.streams[0]
        stream.put(b"lost")
        stream.forget()
        stream.end()
        assert await stream.next(0) is None
        world.end()

    run(test)


def test_there_is_room_for_one_message_of_the_greatest_size_or_no_start() -> None:
    assert room_for(1 << 20, Memory(64 << 20, "this container")).largest >= 4 << 20
    with pytest.raises(StartError, match="give at most 3072KiB"):
        room_for(16 << 20, Memory(64 << 20, "this container"))
