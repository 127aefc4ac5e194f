"""The requests of one session that wait for an answer: which ids are taken, and what each answer settles.

Ids are compared by type and value when an answer comes; a new request is refused already when its id looks like an
outstanding one (`7` and `"7"`), because clients and servers exist that take one for the other.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

from sidecar.jsonrpc import Id

MAX_OUTSTANDING: Final = 10_000
"""Requests of one session that may wait at once."""
MAX_CANCELLED: Final = 1_000
"""Cancelled requests that are remembered for an answer that may still come."""

Pending = TypeVar("Pending")


class Inflight(Generic[Pending]):
    """Outstanding requests by id, each with what its answer settles."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[Id, Pending]] = {}
        self._cancelled: OrderedDict[str, tuple[Id, Pending]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def is_taken(self, id: Id) -> bool:  # noqa: A002 - the protocol's word
        """True when an outstanding request has this id, or one that looks the same."""
        return str(id) in self._waiting or str(id) in self._cancelled

    @property
    def is_full(self) -> bool:
        """True when no more requests may wait."""
        return len(self._waiting) >= MAX_OUTSTANDING

    def open(self, id: Id, pending: Pending) -> None:  # noqa: A002
        """Note an outstanding request."""
        self._waiting[str(id)] = (id, pending)

    def get(self, id: Id) -> Pending | None:  # noqa: A002
        """What waits under exactly this id."""
        return _exact(self._waiting.get(str(id)), id)

    def resembling(self, id: Id) -> tuple[Id, Pending] | None:  # noqa: A002
        """The id and what waits under it, where the id is this one or looks the same."""
        return self._waiting.get(str(id))

    def waiting(self) -> list[tuple[Id, Pending]]:
        """Every outstanding request that was not cancelled."""
        return list(self._waiting.values())

    def close(self, id: Id) -> Pending | None:  # noqa: A002
        """Take out what waited for the answer with exactly this id; None when nothing did: the answer is foreign."""
        for waiting in (self._waiting, self._cancelled):
            pending = _exact(waiting.get(str(id)), id)
            if pending is not None:
                del waiting[str(id)]
                return pending
        return None

    def cancel(self, id: Id, late: Pending) -> Pending | None:  # noqa: A002
        """The request was cancelled: its answer, which settles `late`, may come or not.

        Returns the oldest such one that is given up.
        """
        if _exact(self._waiting.get(str(id)), id) is not None:
            del self._waiting[str(id)]
            self._cancelled[str(id)] = (id, late)
        if len(self._cancelled) > MAX_CANCELLED:
            return self._cancelled.popitem(last=False)[1][1]
        return None

    def drain(self) -> list[tuple[Id, Pending, bool]]:
        """Take out everything: id, what waited, and whether an answer is still expected."""
        everything = [(id_, pending, True) for id_, pending in self._waiting.values()]
        everything += [(id_, pending, False) for id_, pending in self._cancelled.values()]
        self._waiting.clear()
        self._cancelled.clear()
        return everything


def _exact(found: tuple[Id, Pending] | None, id_: Id) -> Pending | None:
    if found is None or type(found[0]) is not type(id_) or found[0] != id_:
        return None
    return found[1]
