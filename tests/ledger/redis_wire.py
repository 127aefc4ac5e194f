"""An address in front of a Redis, at which answers get lost, and requests come late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from unittest.mock import patch

from sidecar.ledger import redis_connection
from sidecar.ledger.redis import RedisLedger
from tests.ledger.stores import Clock, RedisStore
from tests.support.peer import SECONDS
from tests.support.redis_server import RedisServer

WRITES = b"|approvals|stands"
"""What a request has in it that writes an approval: all others name this key within their script."""


class Wire:
    """Connections to the server of the moment. What a request writes decides whether it gets through."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.loses_answers = False
        """The next request that writes an approval is carried out, and its connection breaks."""
        self.holds = False
        """The next request that writes an approval waits for `go`."""
        self.held = asyncio.Event()
        self.go = asyncio.Event()
        self.arrived = asyncio.Event()
        """What was held was carried out."""

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, request by request."""
        back, on = await asyncio.open_connection("127.0.0.1", self.server.port)
        with suppress(ConnectionError):
            while request := await reader.read(1 << 20):
                loses, held = self.loses_answers and WRITES in request, self.holds and WRITES in request
                if held:
                    self.holds = False
                    self.held.set()
                    await asyncio.wait_for(self.go.wait(), SECONDS)
                on.write(request)
                answer = await back.read(1 << 20)
                if held:
                    self.arrived.set()
                if loses:
                    self.loses_answers = False
                    break
                writer.write(answer)
                await writer.drain()
        on.close()
        writer.close()


@asynccontextmanager
async def wire_to(server: RedisServer, clock: Clock, prefix: str = "") -> AsyncIterator[tuple[Wire, RedisLedger]]:
    """An address in front of a server, and a ledger that knows nothing but it."""
    wire = Wire(server)
    listener = await asyncio.start_server(wire.forward, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    ledger = RedisStore(f"redis://127.0.0.1:{port}/0", prefix).ledger(clock)
    try:
        await ledger.check("stub")
        yield wire, ledger
    finally:
        await ledger.close()
        listener.close()


@contextmanager
def impatient() -> Iterator[None]:
    """Within, what is not answered in half a second fails."""
    with patch.object(redis_connection, "PATIENCE", 0.5):
        yield
