"""How much may be held at once: what control groups and the machine allow, and who has to go for whom."""

from __future__ import annotations

import asyncio
import tracemalloc
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import uvloop

from sidecar.http.server import Exchange, Limits
from sidecar.http.values import Request, Response
from sidecar.mcp import jsonrpc
from sidecar.system.memory import SMALL, Memory, MemoryBudget, held, memory
from tests.engine.asking import soon
from tests.http.serving import serving, wire

GIB = 1 << 30


def machine(root: Path, group: str) -> Path:
    """A root folder of a machine with 8 GiB, on which this process is in a group."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal:       {8 * GIB >> 10} kB\nMemFree: 1 kB\n")
    (root / "proc/self/cgroup").write_text(group)
    return root


@pytest.mark.parametrize(
    ("group", "file", "bound", "found"),
    [
        ("0::/a/b\n", "a/b/memory.max", "1073741824", Memory(GIB, "this container")),
        ("0::/a/b\n", "a/memory.max", "1073741824", Memory(GIB, "this container")),
        ("0::/\n", "memory.max", "1073741824", Memory(GIB, "this container")),
        ("0::/elsewhere\n", "memory.max", "1073741824", Memory(GIB, "this container")),
        ("0::/a\n", "a/memory.max", "max", Memory(8 * GIB, "this machine")),
        ("0::/a\n", "b/memory.max", "1073741824", Memory(8 * GIB, "this machine")),
        ("4:memory:/a\n0::/\n", "memory/a/memory.limit_in_bytes", "1073741824", Memory(GIB, "this container")),
        ("4:memory:/x\n", "memory/memory.limit_in_bytes", "1073741824", Memory(GIB, "this container")),
        ("4:cpu,memory:/a\n", "memory/a/memory.limit_in_bytes", "9223372036854771712", Memory(8 * GIB, "this machine")),
    ],
)  # fmt: skip
def test_the_least_bound_counts_of_our_group_and_those_above_it(
    tmp_path: Path, group: str, file: str, bound: str, found: Memory
) -> None:
    root = machine(tmp_path, group)
    place = root / "sys/fs/cgroup" / file
    place.parent.mkdir(parents=True)
    place.write_text(bound)
    assert memory(root) == found


def test_what_is_small_has_room_where_larger_things_have_none() -> None:
    room = MemoryBudget(40 * SMALL)
    room.taken = 30 * SMALL
    assert not room.has(SMALL + 1)
    assert room.has(SMALL)
    room.taken = 40 * SMALL
    assert not room.has(1)


def test_who_takes_nothing_of_an_answer_goes_for_who_asks_for_something() -> None:
    async def test() -> None:
        def answer(request: Request, exchange: Exchange) -> None:
            exchange.send(Response(200, (), b"x" * (64 << 20 if request.path == "/large" else 1)))

        async with serving(answer, Limits(), room=MemoryBudget(8 << 20)) as server, AsyncExitStack() as stack:
            slow = await stack.enter_async_context(wire(server.port))
            slow.reader._limit = 0  # type: ignore[attr-defined] # it reads nothing ahead
            slow.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            await soon(lambda: server.cut_off == 1)
            other = await stack.enter_async_context(wire(server.port))
            other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
            assert (await other.answer())[0] == 200
            assert server.room.taken == 0

    uvloop.run(test())


def test_who_begins_to_ask_and_does_not_go_on_goes_for_who_asks_for_something() -> None:
    async def test() -> None:
        async with serving(room=MemoryBudget(SMALL)) as server, AsyncExitStack() as stack:
            for _ in range(20):
                idle = await stack.enter_async_context(wire(server.port))
                idle.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000)
            await soon(lambda: server.cut_off > 0)
            assert server.room.taken <= SMALL
            other = await stack.enter_async_context(wire(server.port))
            other.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
            assert (await other.answer())[0] == 200

    uvloop.run(test())


def test_what_a_request_said_is_not_counted_once_nobody_holds_it() -> None:
    async def test() -> None:
        asked = asyncio.Event()
        kept: list[Exchange] = []

        def later(request: Request, exchange: Exchange) -> None:
            exchange.keep()
            request.take()
            exchange.let_go()
            kept.append(exchange)
            asked.set()

        async with serving(later) as server, wire(server.port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello")
            await asked.wait()
            assert (server.room.taken, server.active) == (0, 1)
            kept[0].send(Response(200))
            assert (await client.answer())[0] == 200

    uvloop.run(test())


@pytest.mark.parametrize("value", ["[]", '{"":{}}', '{"a":1}', "[[[[[[[[]]]]]]]]", '"abcdefgh"', "1.25", "null"])
def test_what_a_message_holds_is_not_less_than_it_takes(value: str) -> None:
    arguments = ",".join([value] * 10_000)
    line = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t","arguments":{{"a":[{arguments}]}}}}}}'
    tracemalloc.start()
    call = jsonrpc.read(line.encode())
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(call, jsonrpc.Request)
    assert taken < held(call.raw)
