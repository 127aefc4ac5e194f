"""Several messages that travel as one: collected until what becomes of each is known."""

from __future__ import annotations

from collections.abc import Callable

from sidecar import jsonrpc


class Joint:
    """Gives `done` the batch of those of `count` messages that go on, or None, when it is known of all."""

    def __init__(self, count: int, done: Callable[[bytes | None], object]) -> None:
        self._count = count
        self._done = done
        self._messages: list[bytes] = []

    @property
    def is_whole(self) -> bool:
        """True when it is known of all."""
        return self._count == 0

    def add(self, message: bytes | None) -> None:
        """What becomes of one of them: it goes on as these bytes, or not at all."""
        self._count -= 1
        if message is not None:
            self._messages.append(message)
        if self._count == 0:
            self._done(jsonrpc.joined(self._messages) if self._messages else None)
