"""A bare relay in front of an HTTP server: two sockets on uvloop, nothing read, nothing decided.

python http_relay.py PORT UPSTREAM
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any
from urllib.parse import urlsplit

import uvloop


class Side(asyncio.Protocol):
    """One of the two sockets; what comes before the other is connected waits for it."""

    def __init__(self, peer: Side | None = None) -> None:
        self.transport: Any = None
        self.peer = peer
        self._waiting: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._waiting.append(data)
        else:
            self.peer.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None:
            self.peer.transport.close()

    def join(self, peer: Side) -> None:
        """From now on everything goes to `peer`."""
        self.peer = peer
        peer.transport.writelines(self._waiting)


class Client(Side):
    """A client's socket: connects to the server at once."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__()
        self._address = host, port
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            _, server = await asyncio.get_running_loop().create_connection(lambda: Side(self), *self._address)
        except OSError:
            self.transport.close()
            return
        self.join(server)
        if self.transport.is_closing():
            server.transport.close()


async def main(port: int, upstream: str) -> None:
    url = urlsplit(upstream)
    assert url.hostname is not None
    assert url.port is not None
    host, there = url.hostname, url.port
    await asyncio.get_running_loop().create_server(lambda: Client(host, there), "127.0.0.1", port)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), sys.argv[2]))
