"""Spans on their way to a collector that is slow, away, lies or is gone: what is sent, sent again, lost, and told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from sidecar.events import Event, SpansSent
from sidecar.observe.traces import sending
from sidecar.observe.traces.collector import Taken
from sidecar.observe.traces.sending import AT_THE_END, NO_ROOM, Sending
from tests.observe.traces.spans import a_span, attributes

AWAY = Taken("away", again=True, rejected=None)
SECONDS = 15.0


class Answers:
    """A collector that answers as it is told, and the last answer again and again. It `holds` what it is sent."""

    def __init__(self, *says: Taken) -> None:
        self.says = list(says) or [Taken()]
        self.got: list[list[str]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()
        self.is_asked = asyncio.Event()
        self.closed = False
        self.breaks = False
        """Whether it raises, once."""

    async def send(self, body: bytes) -> Taken:
        self.got.append([attributes(span)["mcp_policy.decision_id"] for span in spans_in(body)])
        self.is_asked.set()
        if self.breaks:
            self.breaks = False
            raise ZeroDivisionError
        await self.goes_on.wait()
        return self.says.pop(0) if len(self.says) > 1 else self.says[0]

    async def close(self) -> None:
        self.closed = True


def spans_in(body: bytes) -> list[dict[str, Any]]:
    (resource,) = json.loads(body)["resourceSpans"]
    (scope,) = resource["scopeSpans"]
    spans: list[dict[str, Any]] = scope["spans"]
    return spans


class World:
    """Spans that are sent to a collector, and what was told of them."""

    def __init__(self, *says: Taken, pause: float = 0.0) -> None:
        self.collector = Answers(*says)
        self.events: list[Event] = []
        self.told = asyncio.Event()
        self.sending = Sending(self.collector, "stub", {}, self._tell, pause=pause, pauses=(0.0, 0.0))

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        self.told.set()

    def put(self, *numbers: int) -> None:
        for number in numbers:
            self.sending.put(a_span(number))

    async def until(self, done: Callable[[], bool]) -> None:
        """Wait until it is so, by what is told."""
        async with asyncio.timeout(SECONDS):
            while not done():
                self.told.clear()
                await self.told.wait()

    @property
    def counts(self) -> tuple[int, int]:
        """Spans that were sent, and that were lost."""
        told = [event for event in self.events if isinstance(event, SpansSent)]
        return sum(event.sent for event in told), sum(event.lost for event in told)


def ids(numbers: Sequence[int]) -> list[str]:
    return [f"i-{number}" for number in numbers]


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(SECONDS):
            await test()

    asyncio.run(bounded())


def test_spans_are_gathered_and_sent_in_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "BATCH", 3)

    async def test() -> None:
        world = World(pause=SECONDS)
        world.put(*range(7))
        await world.until(lambda: world.counts == (6, 0))
        assert world.collector.got == [ids([0, 1, 2]), ids([3, 4, 5])]
        await world.sending.stop()
        assert world.collector.got[2:] == [ids([6])]
        assert world.counts == (7, 0)
        assert world.collector.closed

    run(test)


def test_a_span_that_comes_alone_is_sent_after_a_while() -> None:
    async def test() -> None:
        world = World(pause=0.01)
        for number in (1, 2):
            world.put(number)
            await world.until(lambda: world.counts[0] == number)  # noqa: B023 - awaited here
        assert world.collector.got == [ids([1]), ids([2])]
        await world.sending.stop()

    run(test)


def test_what_a_collector_cannot_take_now_is_sent_again_and_told_once_for_each_attempt() -> None:
    async def test() -> None:
        world = World(AWAY, AWAY, Taken())
        world.put(1)
        await world.until(lambda: world.counts == (1, 0))
        assert world.collector.got == [ids([1])] * 3
        assert world.events == [
            SpansSent("stub", 0, 0, "away"), SpansSent("stub", 0, 0, "away"), SpansSent("stub", 1, 0, ""),
        ]  # fmt: skip
        await world.sending.stop()

    run(test)


def test_a_batch_that_is_never_taken_is_lost_and_the_next_is_sent() -> None:
    async def test() -> None:
        world = World(AWAY, AWAY, AWAY, Taken())
        world.put(1)
        await world.until(lambda: world.counts == (0, 1))
        world.put(2)
        await world.until(lambda: world.counts == (1, 1))
        await world.sending.stop()

    run(test)


@pytest.mark.parametrize(
    ("taken", "counts"),
    [
        (Taken("no", rejected=None), (0, 3)), (Taken("some", rejected=2), (1, 2)), (Taken("lies", rejected=99), (0, 3)),
        (Taken(), (3, 0)),
    ],
)  # fmt: skip
def test_what_a_collector_does_not_take_is_lost_and_not_sent_again(taken: Taken, counts: tuple[int, int]) -> None:
    async def test() -> None:
        world = World(taken)
        world.put(1, 2, 3)
        await world.until(lambda: sum(world.counts) == 3)
        assert (world.counts, len(world.collector.got)) == (counts, 1)
        await world.sending.stop()

    run(test)


def test_while_a_collector_is_slow_only_so_many_spans_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "MAX_WAITING", 4)
    monkeypatch.setattr(sending, "BATCH", 2)

    async def test() -> None:
        world = World()
        world.collector.goes_on.clear()
        world.put(0, 1)
        await world.collector.is_asked.wait()
        world.put(*range(2, 12))
        world.collector.goes_on.set()
        await world.until(lambda: sum(world.counts) == 12)
        assert world.counts == (6, 6)
        assert world.collector.got == [ids([0, 1]), ids([2, 3]), ids([4, 5])]
        assert SpansSent("stub", 0, 6, NO_ROOM) in world.events
        await world.sending.stop()

    run(test)


def test_the_end_waits_for_a_collector_no_longer_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "FLUSH", 0.05)
    monkeypatch.setattr(sending, "BATCH", 2)

    async def test() -> None:
        world = World()
        world.collector.goes_on.clear()
        world.put(*range(5))
        await world.collector.is_asked.wait()
        await world.sending.stop()
        assert world.events == [SpansSent("stub", 0, 5, AT_THE_END)]
        assert world.collector.closed

    run(test)


def test_the_end_does_not_wait_for_another_attempt() -> None:
    async def test() -> None:
        world = World(AWAY)
        world.sending = Sending(world.collector, "stub", {}, world._tell, pause=0.0, pauses=(SECONDS, SECONDS))
        world.put(1)
        await world.until(lambda: bool(world.events))
        world.put(2)
        await world.sending.stop()
        assert world.counts == (0, 2)

    run(test)


def test_a_defect_of_ours_loses_its_batch_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.system.tasks.PAUSE", 0.0)

    async def test() -> None:
        world = World()
        world.collector.breaks = True
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        world.put(1)
        await world.until(lambda: world.counts == (0, 1))
        world.put(2)
        await world.until(lambda: world.counts == (1, 1))
        await world.sending.stop()

    run(test)
