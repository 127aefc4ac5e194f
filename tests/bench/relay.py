"""A bare relay in front of a server: two pipes on uvloop, nothing read, nothing decided. The floor for any proxy here.

python relay.py COMMAND...
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import uvloop


class Copy(asyncio.Protocol):
    """Writes what it hears to `target`, and closes that at the end."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def data_received(self, data: bytes) -> None:
        self._target.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._target.close()


class Server(asyncio.SubprocessProtocol):
    """The server, as a child; what it writes goes to `client`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.ended = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._client.write(data)

    def process_exited(self) -> None:
        self.ended.set_result(None)


async def main(command: list[str]) -> None:
    loop = asyncio.get_running_loop()
    client, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout.buffer)
    transport, server = await loop.subprocess_exec(
        lambda: Server(client), *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
    )
    await loop.connect_read_pipe(lambda: Copy(transport.get_pipe_transport(0)), sys.stdin.buffer)
    await server.ended


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1:]))
