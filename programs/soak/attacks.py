"""What clients without manners do, each as one deed on connections of its own."""

from __future__ import annotations

import itertools
import json
import random
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from tests.wire.http.client import Agent, Wire, call, head, hello

Attack: TypeAlias = Callable[[str, str], None]
"""Done to the listener's URL and to that of telemetry."""


def resets(url: str, telemetry: str) -> None:
    """Connections that are broken before anybody looked at them."""
    for where in (url, telemetry):
        with _connected(where) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_heads(url: str, telemetry: str) -> None:
    """Heads that end in the middle."""
    for where in (url, telemetry):
        with _connected(where) as connection:
            connection.sendall(b"POST /mcp HTTP/1.1\r\nHost: loc")


def noise(url: str, telemetry: str) -> None:
    """Bytes that mean nothing."""
    for where in (url, telemetry):
        with _connected(where) as connection:
            connection.sendall(random.randbytes(200))
            connection.recv(1000)


def no_token(url: str, telemetry: str) -> None:
    """A large body without a token."""
    with Wire(url) as wire:
        wire.send(head(wire.host, length=15 << 20))
        wire.answer()


def many_values(url: str, telemetry: str) -> None:
    """A message of more values than may be."""
    _post(url, json.dumps(call("shown", {"a": [[]] * 300_000})).encode())


def large(url: str, telemetry: str) -> None:
    """A message as large as may be."""
    _post(url, json.dumps(call("shown", {"a": "x" * (8 << 20)})).encode())


def slow_reader(url: str, telemetry: str) -> None:
    """A large answer that nobody takes."""
    agent = Agent(url, TOKEN)
    with agent.opened(call("large")):
        time.sleep(0.2)


def sessions_left(url: str, telemetry: str) -> None:
    """A session that is opened and forgotten."""
    Agent(url, TOKEN).post(hello())


TOKEN: Final = "Authorization: Bearer good"
ATTACKS: Final = (resets, half_heads, noise, no_token, many_values, large, slow_reader, sessions_left)


def forever() -> Iterator[Attack]:
    """One after the other, again and again."""
    return itertools.cycle(ATTACKS)


def _post(url: str, body: bytes) -> None:
    with Wire(url) as wire:
        wire.send(head(wire.host, TOKEN, length=len(body)) + body)
        wire.answer()


def _connected(url: str) -> socket.socket:
    host, _, port = url.split("/")[2].partition(":")
    return socket.create_connection((host, int(port)), timeout=5)
