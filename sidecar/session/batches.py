"""Several messages that travel as one: collected until what becomes of each is known. No MCP."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.mcp import jsonrpc


class Joint:
    """Gives `done` the batch of those of `count` messages that go on, or None, when it is known of all."""

    def __init__(self, count: int, done: Callable[[bytes | None], object]) -> None:
        self._count = count
        self._done = done
        self._messages: list[bytes] = []

    def add(self, message: bytes | None) -> None:
        """What becomes of one of them: it goes on as these bytes, or not at all."""
        self._count -= 1
        if message is not None:
            self._messages.append(message)
        if self._count == 0:
            self._done(jsonrpc.joined(self._messages) if self._messages else None)


class Parted:
    """A batch of which some messages go on and some are answered at once; `done` gets both parts when that is known.

    Until then each may still be decided otherwise.
    """

    def __init__(self, count: int, done: Callable[[bytes | None, bytes | None], object]) -> None:
        self._onward: dict[int, bytes] = {}
        self._answers: dict[int, bytes] = {}
        self._unknown = set(range(count))
        self._done = done

    @property
    def is_whole(self) -> bool:
        """True when it is known of all, and nothing can be changed any more."""
        return not self._unknown

    def put(self, place: int, *, onward: bytes | None = None, answer: bytes | None = None) -> None:
        """What becomes of the message at a place: it goes on, or this answers it, or neither."""
        for part, message in ((self._onward, onward), (self._answers, answer)):
            part.pop(place, None)
            if message is not None:
                part[place] = message
        self._unknown.discard(place)
        if self.is_whole:
            self._done(_in_order(self._onward), _in_order(self._answers))


def _in_order(messages: dict[int, bytes]) -> bytes | None:
    return jsonrpc.joined([messages[place] for place in sorted(messages)]) if messages else None
