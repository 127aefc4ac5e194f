"""One answer's messages: all of them, in order, from any position, within bounds."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.downstream.hosted.replay_buffer import HIGH_WATER, KEPT, Stream
from tests.downstream.fakes import run, turns


async def rest(stream: Stream, after: int = 0) -> list[bytes]:
    """What comes behind a position until the end."""
    messages: list[bytes] = []
    while (found := await stream.next(after)) is not None:
        after, message = found
        messages.append(message)
    return messages


@given(st.lists(st.binary(max_size=4), max_size=12), st.data())
def test_everything_behind_a_position_comes_in_order_however_reading_and_putting_take_turns(
    messages: list[bytes], data: st.DataObject
) -> None:
    breaks = data.draw(st.lists(st.booleans(), min_size=len(messages), max_size=len(messages)))
    after = data.draw(st.integers(0, len(messages)))

    async def inside() -> None:
        stream = Stream("s")
        stream.read()
        reading = asyncio.create_task(rest(stream, after))
        for message, pause in zip(messages, breaks, strict=True):
            stream.put(message)
            if pause:
                await asyncio.sleep(0)
        stream.end()
        assert await reading == messages[after:]
        assert stream.count == len(messages)
        assert await rest(stream, after) == messages[after:]

    run(inside())


def test_a_position_is_that_of_the_message_and_the_last_one_taken_is_known() -> None:
    async def inside() -> None:
        stream = Stream("s")
        stream.put(b"a")
        stream.put(b"b")
        assert await stream.next(0) == (1, b"a")
        assert await stream.next(1) == (2, b"b")
        assert await stream.next(0) == (1, b"a")
        assert stream.taken == 2

    run(inside())


def test_without_a_reader_the_oldest_are_lost_and_the_rest_is_bounded() -> None:
    async def inside() -> None:
        stream = Stream("s")
        for number in range(10):
            stream.put(b"%d" % number + b"x" * (KEPT // 4))
        stream.end()
        assert [message[:1] for message in await rest(stream)] == [b"7", b"8", b"9"]

    run(inside())


def test_what_a_reader_has_not_taken_is_never_lost() -> None:
    async def inside() -> None:
        stream = Stream("s")
        stream.read()
        for number in range(10):
            stream.put(b"%d" % number + b"x" * (KEPT // 4))
        stream.end()
        assert len(await rest(stream)) == 10

    run(inside())


def test_a_message_that_is_longer_than_what_is_kept_comes_all_the_same() -> None:
    async def inside() -> None:
        stream = Stream("s")
        stream.put(b"x" * (KEPT + 1))
        stream.end()
        assert len(await rest(stream)) == 1

    run(inside())


def test_a_slow_reader_is_told_of_once_and_again_when_it_has_caught_up_or_left() -> None:
    async def inside() -> None:
        told: list[bool] = []
        stream = Stream("s", told.append)
        stream.read()
        for _ in range(4):
            stream.put(b"x" * (HIGH_WATER // 2))
        assert told == [True]
        after = 0
        for _ in range(4):
            after, _ = await stream.next(after) or (0, b"")
        assert told == [True, False]
        for _ in range(4):
            stream.put(b"x" * (HIGH_WATER // 2))
        stream.left()
        stream.left()
        assert told == [True, False, True, False]

    run(inside())


def test_nobody_is_held_up_where_nobody_reads() -> None:
    told: list[bool] = []
    stream = Stream("s", told.append)
    stream.put(b"x" * (2 * HIGH_WATER))
    assert told == []


@pytest.mark.parametrize("early", [0, 1, 2])
def test_the_last_of_the_answers_that_are_expected_ends_it_also_where_some_came_before(early: int) -> None:
    stream = Stream("s")
    for _ in range(early):
        stream.answer(b"answer")
    stream.put(b"news")
    stream.expect(2)
    for _ in range(2 - early):
        assert not stream.ended
        stream.answer(b"answer")
    assert stream.ended
    stream.answer(b"late")
    assert stream.count == 3


def test_a_reader_that_was_cancelled_has_taken_nothing() -> None:
    async def inside() -> None:
        stream = Stream("s")
        reader = asyncio.create_task(stream.next(0))
        await turns()
        reader.cancel()
        stream.put(b"a")
        await turns()
        assert stream.taken == 0
        assert await stream.next(0) == (1, b"a")

    run(inside())
