"""What a connection to a server is, whatever carries it: messages there and back, one at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol, TypeAlias

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Batch, Id, Message, Outgoing
from sidecar.system import tasks
from sidecar.system.lines import TooLong
from sidecar.upstream.failure import Failure

LARGE: Final = 256 << 10
"""Bytes of a message that is still read at once: the worst one takes some 50 ms."""

Said: TypeAlias = bytes | TooLong | Message | Batch | InvalidMessage
"""What a server said: a line that nobody had to look at yet, else what was read of it, or why it cannot be read."""
Received: TypeAlias = Callable[[Said], None]
Full: TypeAlias = Callable[[bool], None]
Unanswered: TypeAlias = Callable[[Id, Failure], None]
"""Hears of a request that will get no answer."""


class Link(Protocol):
    """A server that messages can be sent to. It says nothing and hears nothing until `begin`."""

    @property
    def cause(self) -> str:
        """Why it ended, where it did by itself: one of `UPSTREAM_ERRORS`."""

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        """Begin: each message of the server goes to `received`; `full` tells whether it does not keep up."""

    def send(self, message: Outgoing) -> None:
        """Send one message, without waiting."""

    def pause(self, stop: bool) -> None:
        """Take nothing more from the server, or go on."""

    async def ended(self) -> int:
        """Wait for the end of the server, and for the last of what it said; the exit status that it stands for."""

    async def stop(self, ask: bool) -> int:
        """End it within 1.7 s, by SIGTERM at once where `ask`. Returns its exit status."""

    def close(self) -> None:
        """Let go of it, whatever it does."""


def read(said: Said) -> Message | Batch:
    """The message that a server said, or the batch of them, read unless it was. Raises `InvalidMessage`."""
    if isinstance(said, bytes):
        return jsonrpc.read(said)
    if isinstance(said, TooLong):
        raise jsonrpc.too_long(said)
    if isinstance(said, InvalidMessage):
        raise said
    return said


def understood(said: Said) -> Message | Batch | InvalidMessage:
    """The same, with the refusal of what cannot be read as a value: for a link that passes on what it looked at."""
    try:
        return read(said)
    except InvalidMessage as problem:
        return problem


class LinkReader:
    """Reads what the servers of all links say: large messages on a thread, one at a time, so that nobody is held up."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def understood(self, said: Said) -> Message | Batch | InvalidMessage:
        """See `understood`."""
        if not isinstance(said, bytes) or len(said) <= LARGE:
            return understood(said)
        async with self._turn:
            return await tasks.in_thread_if_can_be(partial(understood, said))
