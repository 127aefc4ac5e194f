"""What waits for a server, and what came of it and waits for its client, counts in the room and is given back."""

from __future__ import annotations

import asyncio
import sys

from sidecar.http.client import HttpClient, PendingRequest
from sidecar.http.origin import Origin
from sidecar.http.values import Lines
from sidecar.system.guardian import Guardian
from sidecar.system.memory import WEIGHT, MemoryBudget
from sidecar.upstream.stdio import ChildServer
from sidecar.upstream.streamable_http import HttpLink
from tests.downstream.fakes import line, run, turns
from tests.engine.asking import soon
from tests.session.fakes import outgoing
from tests.upstream.fakes import FakeRemote, Heard, as_json

LARGE = "x" * (4 << 20)


def test_a_message_on_its_way_to_a_remote_server_counts_until_it_is_answered() -> None:
    async def inside() -> None:
        server, heard = FakeRemote([as_json(id=1, result={})]), Heard()
        go_on = server.hold("tools/call")
        link = HttpLink(server.remote)
        heard.begin(link)
        message = line(id=1, method="tools/call", params={"text": LARGE})
        link.send(outgoing(message))
        await turns(30)
        assert server.room.taken == WEIGHT * len(message)
        go_on.set()
        await soon(lambda: server.room.taken == 0)
        link.close()

    run(inside())


def test_a_message_on_its_way_to_a_remote_server_counts_no_more_once_the_link_is_closed() -> None:
    async def inside() -> None:
        server, heard = FakeRemote([]), Heard()
        server.hold("tools/call")
        link = HttpLink(server.remote)
        heard.begin(link)
        link.send(outgoing(line(id=1, method="tools/call", params={"text": LARGE})))
        await turns(30)
        link.close()
        await soon(lambda: server.room.taken == 0)

    run(inside())


def test_an_answer_that_waits_for_a_client_that_does_not_keep_up_counts() -> None:
    async def inside() -> None:
        answer = line(id=1, result={"text": LARGE})
        server, heard = FakeRemote([as_json(id=1, result={"text": LARGE})]), Heard()
        link = HttpLink(server.remote)
        heard.begin(link)
        link.pause(True)
        message = line(id=1, method="tools/call")
        link.send(outgoing(message))
        await turns(30)
        assert server.room.taken == WEIGHT * len(message) + len(answer)
        link.pause(False)
        await soon(lambda: server.room.taken == 0)
        assert [message["id"] for message in heard.messages] == [1]
        link.close()

    run(inside())


def test_what_a_child_does_not_read_counts_until_the_child_ends() -> None:
    async def inside() -> None:
        room, heard = MemoryBudget(1 << 30), Heard()
        command = [sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)"]
        server = await ChildServer.start(command, 16 << 20, Guardian(), room)
        heard.begin(server)
        server.send(outgoing(line(id=1, method="tools/call", params={"text": LARGE})))
        await soon(lambda: room.taken > len(LARGE) // 2)
        server.close()
        await server._exited
        await soon(lambda: room.taken == 0)

    run(inside())


def test_a_line_of_a_child_that_is_lost_in_the_middle_of_it_is_given_back() -> None:
    async def inside() -> None:
        room, heard = MemoryBudget(1 << 30), Heard()
        script = "import sys, time; sys.stdout.write('x' * (4 << 20)); sys.stdout.flush(); time.sleep(600)"
        server = await ChildServer.start([sys.executable, "-S", "-E", "-c", script], 16 << 20, Guardian(), room)
        heard.begin(server)
        await soon(lambda: room.taken == 16 << 20)
        server.close()
        await server._exited
        assert room.taken == 0

    run(inside())


def test_what_an_http_server_does_not_take_or_nobody_reads_of_it_counts_until_its_connection_ends() -> None:
    async def inside() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"GET" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + b"x" * 9_000_000)
            await is_over.wait()
            writer.transport.abort()

        room, is_over = MemoryBudget(1 << 30), asyncio.Event()
        server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 10)
        client = HttpClient(Origin(False, "127.0.0.1", server.sockets[0].getsockname()[1]), room=room)
        asking = PendingRequest(lambda _: None, lambda _: None)
        client.ask(client.head("POST", "/", Lines(b"")), LARGE.encode() * 8, asking, None)
        await soon(lambda: room.taken > 16 << 20)
        asking.give_up()
        await soon(lambda: room.taken == 0)
        found = await client.send("GET", "/", [])
        await soon(lambda: room.taken > 0)
        found.abort()
        assert room.taken == 0
        await client.close()
        is_over.set()
        await turns(5)
        server.close()

    run(inside())
