"""HTTP over real sockets. Shared here: a server whose defects are seen, bytes over a socket, a bounded wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sidecar.http.server import Admit, Exchange, Handler, HttpServer, Limits
from sidecar.http.values import Request, Response
from sidecar.system.memory import MemoryBudget

USUAL = Limits()
SHORT = Limits(body=1000, head_seconds=0.05, body_seconds=0.05, idle_seconds=0.05, write_seconds=0.05)
"""Limits that are reached at once."""


async def echo(request: Request, exchange: Exchange) -> None:
    """Answer a request with what of it arrived."""
    shown = [request.method, request.path, request.query, repr(request.body)]
    exchange.send(Response(200, (("x-seen", "1"),), "\n".join(shown).encode("latin-1")))


def defects() -> list[dict[str, Any]]:
    """What reaches the loop's exception handler from now on."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    return found


@asynccontextmanager
async def serving(
    handler: Handler = echo,
    limits: Limits = USUAL,
    admit: Admit = lambda *_: None,
    room: MemoryBudget | None = None,
) -> AsyncIterator[HttpServer]:
    """A server; no exception may have got away from it when it is closed."""
    found = defects()
    server = await HttpServer.start("127.0.0.1", 0, handler, limits, admit, room=room)
    try:
        yield server
    finally:
        await server.close(0)
    assert found == []
    assert (server.active, server.room.taken) == (0, 0)


class Wire:
    """A connection to a loopback port, as bytes. Every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        """Write bytes."""
        self.writer.write(data)

    async def until(self, end: bytes) -> bytes:
        """Read up to and with `end`."""
        async with asyncio.timeout(10):
            return await self.reader.readuntil(end)

    async def exactly(self, size: int) -> bytes:
        """Read so many bytes."""
        async with asyncio.timeout(10):
            return await self.reader.readexactly(size)

    async def rest(self) -> bytes:
        """Read until the other side ends."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def until_broken(self) -> bytes:
        """Read until the other side ends, or breaks the connection."""
        read = b""
        try:
            async with asyncio.timeout(10):
                while piece := await self.reader.read(1000):
                    read += piece
        except ConnectionResetError:
            return read
        return read

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """Read one answer with a length or without a body: status, headers, body."""
        head = (await self.until(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.split("\r\n")[:-2]
        headers = dict(each.split(": ", 1) for each in lines)
        body = await self.exactly(int(headers.get("content-length", "0")))
        return int(line.split()[1]), headers, body


@asynccontextmanager
async def wire(port: int) -> AsyncIterator[Wire]:
    """Connect to a loopback port."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
