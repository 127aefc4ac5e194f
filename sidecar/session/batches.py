"""Several messages that travel as one: collected until what becomes of each is known."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.mcp.jsonrpc import Joined, Message, Outgoing, messages_of
from sidecar.session.route import Route


class Joint:
    """Gives `done` the batch of those of `count` messages that go on, or None, when it is known of all."""

    def __init__(self, count: int, done: Callable[[Joined | None], object]) -> None:
        self._count = count
        self._done = done
        self._messages: list[Message] = []

    def add(self, message: Outgoing | None) -> None:
        """What becomes of one of them: it goes on as this, or not at all."""
        self._count -= 1
        if message is not None:
            self._messages += messages_of(message)
        if self._count == 0:
            self._done(Joined(tuple(self._messages)) if self._messages else None)


class Parted:
    """A batch of which some messages go on and some are answered at once; `done` gets both parts when that is known.

    Until then each may still be decided otherwise.
    """

    def __init__(self, count: int, done: Callable[[Joined | None, Joined | None], object]) -> None:
        self._onward: dict[int, Outgoing] = {}
        self._answers: dict[int, Outgoing] = {}
        self._unknown = set(range(count))
        self._done = done

    @property
    def is_whole(self) -> bool:
        """True when it is known of all, and nothing can be changed any more."""
        return not self._unknown

    def put(self, place: int, *, onward: Outgoing | None = None, answer: Outgoing | None = None) -> None:
        """What becomes of the message at a place: it goes on, or this answers it, or neither."""
        for part, message in ((self._onward, onward), (self._answers, answer)):
            part.pop(place, None)
            if message is not None:
                part[place] = message
        self._unknown.discard(place)
        if self.is_whole:
            self._done(_in_order(self._onward), _in_order(self._answers))


def element(parted: Parted, place: int, route: Route) -> Route:
    """The way of one message of a batch: with its fellows until all are judged, then by itself."""

    def to_client(message: Outgoing) -> None:
        if parted.is_whole:
            route.to_client(message)
        else:
            parted.put(place, answer=message)

    return Route(
        to_client,
        to_server=lambda message: parted.put(place, onward=message),
        dropped=lambda: parted.put(place),
        cancelled=route.cancelled,
        is_sent=lambda: parted.is_whole,
        may_hold=False,  # or its fellows would wait for a person too
        trace=route.trace,
    )


def _in_order(messages: dict[int, Outgoing]) -> Joined | None:
    found = [one for place in sorted(messages) for one in messages_of(messages[place])]
    return Joined(tuple(found)) if found else None
