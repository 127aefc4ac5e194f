"""What servers say is read: small messages at once, large ones on a thread and one at a time."""

from __future__ import annotations

import asyncio
import threading

import pytest

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Batch, Message
from sidecar.system.lines import TooLong
from sidecar.system.tasks import in_thread
from sidecar.upstream.link import LARGE, LinkReader, understood
from tests.downstream.fakes import line, run

SECONDS = 10


def large(id_: int) -> bytes:
    return line(id=id_, result={"pad": "x" * LARGE})


def test_large_messages_are_read_one_at_a_time_while_small_ones_are_read_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    go, begun = threading.Event(), threading.Event()
    reading: list[int] = []
    read = jsonrpc.read

    def slow(said: bytes) -> Message | Batch:
        if len(said) > LARGE:
            reading.append(len(said))
            begun.set()
            assert go.wait(SECONDS)
        return read(said)

    async def inside() -> None:
        monkeypatch.setattr(jsonrpc, "read", slow)
        reader = LinkReader()
        waiting = [asyncio.create_task(reader.understood(large(number))) for number in (1, 2)]
        assert await in_thread(lambda: begun.wait(SECONDS))
        assert await reader.understood(line(id=3, result={})) == read(line(id=3, result={}))
        assert len(reading) == 1
        go.set()
        assert await asyncio.gather(*waiting) == [read(large(1)), read(large(2))]

    try:
        run(inside())
    finally:
        go.set()


@pytest.mark.parametrize(
    "said", [b"{" + b" " * LARGE, TooLong(b"{", b"}", LARGE), InvalidMessage(-32700, "no"), large(1)]
)
def test_what_is_read_aside_is_what_is_read_at_once(said: bytes | TooLong | InvalidMessage) -> None:
    async def inside() -> None:
        found, expected = await LinkReader().understood(said), understood(said)
        if isinstance(expected, InvalidMessage):
            assert isinstance(found, InvalidMessage)
            assert (found.code, str(found), found.id) == (expected.code, str(expected), expected.id)
        else:
            assert found == expected

    run(inside())


def test_without_a_thread_a_large_message_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def inside() -> None:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert await LinkReader().understood(large(1)) == understood(large(1))

    run(inside())
