"""A bare relay in front of a server: two pipes on uvloop, nothing read, nothing decided. The floor for any proxy here.

python relay.py [--parse] COMMAND...

With --parse each line is decoded and encoded again by msgspec, both ways: the floor for a proxy that knows what it
passes on.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
import uvloop

Change: TypeAlias = Callable[[bytes], bytes]
"""What is written for the bytes that came."""


class Parsed:
    """The whole lines of what came, decoded and encoded again; what is no whole line yet waits."""

    def __init__(self) -> None:
        self._waiting: list[bytes] = []

    def __call__(self, data: bytes) -> bytes:
        whole, newline, rest = data.rpartition(b"\n")
        if not newline:
            self._waiting.append(data)
            return b""
        lines = b"".join([*self._waiting, whole]).split(b"\n")
        self._waiting = [rest]
        return b"".join([msgspec.json.encode(msgspec.json.decode(line)) + b"\n" for line in lines])


def unchanged(data: bytes) -> bytes:
    """The bytes as they came."""
    return data


class Copy(asyncio.Protocol):
    """Writes what it hears to `target`, and closes that at the end."""

    def __init__(self, target: Any, change: Change) -> None:
        self._target = target
        self._change = change

    def data_received(self, data: bytes) -> None:
        self._target.write(self._change(data))

    def connection_lost(self, error: Exception | None) -> None:
        self._target.close()


class Server(asyncio.SubprocessProtocol):
    """The server, as a child; what it writes goes to `client`."""

    def __init__(self, client: Any, change: Change) -> None:
        self._client = client
        self._change = change
        self.ended = asyncio.get_running_loop().create_future()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self._client.write(self._change(data))

    def process_exited(self) -> None:
        self.ended.set_result(None)


async def main(command: list[str], changes: tuple[Change, Change]) -> None:
    """Relay until the server ends; `changes` are those to the server and those to the client."""
    to_server, to_client = changes
    loop = asyncio.get_running_loop()
    client, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, sys.stdout.buffer)
    transport, server = await loop.subprocess_exec(
        lambda: Server(client, to_client), *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=None
    )
    await loop.connect_read_pipe(lambda: Copy(transport.get_pipe_transport(0), to_server), sys.stdin.buffer)
    await server.ended


if __name__ == "__main__":
    parse = sys.argv[1] == "--parse"
    uvloop.run(main(sys.argv[1 + parse :], (Parsed(), Parsed()) if parse else (unchanged, unchanged)))
