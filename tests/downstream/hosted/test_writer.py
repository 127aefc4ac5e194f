"""How a stream is written down: as JSON where one message is all, else as events; alive; taken up again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.downstream.hosted import writer
from sidecar.downstream.hosted.replay_buffer import Stream
from sidecar.downstream.hosted.writer import write
from sidecar.http.exchange import Gone
from tests.downstream.fakes import Client, run, turns


def stream_of(*messages: bytes, ended: bool = True) -> Stream:
    stream = Stream("3")
    for message in messages:
        stream.put(message)
    if ended:
        stream.end()
    return stream


async def written(stream: Stream, **how: Any) -> Client:
    client = Client()
    await write(stream, client.exchange, [("x-more", "1")], **how)
    return client


def test_one_message_that_is_all_is_plain_json() -> None:
    async def inside() -> None:
        client = await written(stream_of(b'{"a":1}'))
        assert (client.status, client.header("content-type"), client.header("x-more")) == (200, "application/json", "1")
        assert client.json == {"a": 1}

    run(inside())


@pytest.mark.parametrize("messages", [[b'{"a":1}', b'{"a":2}'], []])
def test_anything_else_comes_as_events(messages: list[bytes]) -> None:
    async def inside() -> None:
        client = await written(stream_of(*messages))
        assert (client.header("content-type"), client.header("cache-control")) == ("text/event-stream", "no-cache")
        assert (len(client.messages), client.is_complete) == (len(messages), True)

    run(inside())


def test_whoever_listens_gets_events_and_each_says_where_it_stands() -> None:
    async def inside() -> None:
        client = await written(stream_of(b'{"a":1}'), listens=True, name_events=True)
        assert [event.id for event in client.events] == ["3.1"]

    run(inside())


def test_a_client_that_comes_back_gets_what_it_has_not_seen() -> None:
    async def inside() -> None:
        stream = stream_of(b"1", b"2", b"3")
        await written(stream)
        client = await written(stream, after=1, name_events=True, listens=True)
        assert [event.id for event in client.events] == ["3.2", "3.3"]

    run(inside())


def test_the_address_for_messages_comes_before_all_else() -> None:
    async def inside() -> None:
        client = await written(stream_of(b"1"), endpoint="/messages?session_id=x")
        assert (client.events[0].type, client.events[0].data) == ("endpoint", "/messages?session_id=x")
        assert client.messages == [1]

    run(inside())


def test_a_stream_that_is_silent_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BEAT", 0.001)

    async def inside() -> None:
        stream, client = stream_of(ended=False), Client()
        writing = asyncio.create_task(write(stream, client.exchange, []))
        while len(client.events) < 2:  # noqa: ASYNC110 - nothing else tells of a ping
            await asyncio.sleep(0)
        stream.put(b"1")
        stream.end()
        await writing
        assert all(event.comment for event in client.events[:2])
        assert client.messages == [1]

    run(inside())


def test_a_client_that_leaves_ends_the_writing_and_holds_up_nobody() -> None:
    async def inside() -> None:
        stream, client = stream_of(ended=False), Client()
        writing = asyncio.create_task(write(stream, client.exchange, []))
        await turns()
        assert stream.reading
        client.leave()
        await writing
        assert not stream.reading

    run(inside())


def test_what_comes_after_the_client_left_is_not_written() -> None:
    async def inside() -> None:
        stream, client = stream_of(b"1", b"2"), Client()
        client.leave()
        with pytest.raises(Gone):
            await written_to(stream, client)
        assert (client.head, stream.reading) == (b"", False)

    run(inside())


async def written_to(stream: Stream, client: Client) -> None:
    await write(stream, client.exchange, [], listens=True)


def test_writing_that_is_cancelled_by_somebody_else_is_cancelled() -> None:
    async def inside() -> None:
        stream, client = stream_of(ended=False), Client()
        writing = asyncio.create_task(write(stream, client.exchange, []))
        await turns()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing

    run(inside())
