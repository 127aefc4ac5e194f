"""What a connection to a server is, whatever carries it: messages there and back, one at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from sidecar.mcp.jsonrpc import Id
from sidecar.system.lines import TooLong
from sidecar.upstream.failure import Failure

Received: TypeAlias = Callable[[bytes | TooLong], None]
Full: TypeAlias = Callable[[bool], None]
Unanswered: TypeAlias = Callable[[Id, Failure], None]
"""Hears of a request that will get no answer."""


class Link(Protocol):
    """A server that messages can be sent to. It says nothing and hears nothing until `begin`."""

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        """Begin: each message of the server goes to `received`; `full` tells whether it does not keep up."""

    def send(self, message: bytes) -> None:
        """Send one message, without waiting."""

    def pause(self, stop: bool) -> None:
        """Take nothing more from the server, or go on."""

    async def ended(self) -> int:
        """Wait for the end of the server, and for the last of what it said; the exit status that it stands for."""

    async def stop(self, ask: bool) -> int:
        """End it, within 1.7 s, at once where `ask`; its exit status."""

    def close(self) -> None:
        """Let go of it, whatever it does."""
