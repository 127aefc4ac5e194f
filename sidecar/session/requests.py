"""The requests of one session that wait for an answer: which ids are taken, and what each answer settles.

Ids are compared by type and value when an answer comes; a new request is refused already when its id looks like an
outstanding one (`7` and `"7"`), because clients and servers exist that take one for the other.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Final, Generic, TypeVar

from sidecar.mcp.jsonrpc import Id

MAX_OUTSTANDING: Final = 10_000
"""Requests of one session that may wait at once."""
MAX_CANCELLED: Final = 1_000
"""Cancelled requests that are remembered for an answer that may still come."""

Pending = TypeVar("Pending")


class Inflight(Generic[Pending]):
    """Outstanding requests by id, each with what its answer settles."""

    def __init__(self) -> None:
        self._waiting: dict[Id, Pending] = {}
        self._cancelled: OrderedDict[Id, Pending] = OrderedDict()
        # Ids that look the same are of two types, and most clients use one; `object` once there were both.
        self._type: type | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def is_taken(self, id: Id) -> bool:  # noqa: A002 - the protocol's word
        """True when an outstanding request has this id, or one that looks the same."""
        if id in self._waiting or id in self._cancelled:
            return True
        if type(id) is self._type:
            return False
        twin = _twin(id)
        return twin in self._waiting or twin in self._cancelled

    @property
    def is_full(self) -> bool:
        """True when no more requests may wait."""
        return len(self._waiting) >= MAX_OUTSTANDING

    def open(self, id: Id, pending: Pending) -> None:  # noqa: A002
        """Note an outstanding request."""
        if type(id) is not self._type:
            self._type = type(id) if self._type is None else object
        self._waiting[id] = pending

    def get(self, id: Id) -> Pending | None:  # noqa: A002
        """What waits under exactly this id."""
        return self._waiting.get(id)

    def resembling(self, id: Id) -> tuple[Id, Pending] | None:  # noqa: A002
        """The id and what waits under it, where the id is this one or looks the same."""
        for known in (id, _twin(id)):
            if known in self._waiting:
                return known, self._waiting[known]
        return None

    def waiting(self) -> list[tuple[Id, Pending]]:
        """Every outstanding request that was not cancelled."""
        return list(self._waiting.items())

    def close(self, id: Id) -> Pending | None:  # noqa: A002
        """Take out what waited for the answer with exactly this id; None when nothing did: the answer is foreign."""
        pending = self._waiting.pop(id, None)
        return pending if pending is not None else self._cancelled.pop(id, None)

    def cancel(self, id: Id, late: Pending) -> Pending | None:  # noqa: A002
        """The request was cancelled: its answer, which settles `late`, may come or not.

        Returns the oldest such one that is given up.
        """
        if self._waiting.pop(id, None) is not None:
            self._cancelled[id] = late
        if len(self._cancelled) > MAX_CANCELLED:
            return self._cancelled.popitem(last=False)[1]
        return None

    def drain(self) -> list[tuple[Id, Pending, bool]]:
        """Take out everything: id, what waited, and whether an answer is still expected."""
        everything = [(id_, pending, True) for id_, pending in self._waiting.items()]
        everything += [(id_, pending, False) for id_, pending in self._cancelled.items()]
        self._waiting.clear()
        self._cancelled.clear()
        return everything


def _twin(id_: Id) -> Id | None:
    """The id of the other type that is written the same way; None where there is none."""
    if type(id_) is int:
        return str(id_)
    return int(id_) if _INTEGER.fullmatch(str(id_)) else None


# Only what `str` makes of an integer; longer ones are no ids.
_INTEGER: Final = re.compile("0|-?[1-9][0-9]{0,15}")
