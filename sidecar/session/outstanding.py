"""Outstanding requests: the table of one side's requests that wait for an answer, and its entries.

Ids are compared by type and value when an answer comes; a new request is refused already when its id looks like an
outstanding one (`7` and `"7"`), because clients and servers exist that take one for the other.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any, Final, Generic, TypeAlias, TypeVar

import msgspec

from sidecar.enforce.verdict import Forward
from sidecar.errors import InvalidMessage
from sidecar.mcp import protocol, tool_list
from sidecar.mcp.jsonrpc import Id, Outgoing, Request
from sidecar.session.judge import Judgement
from sidecar.session.pages import Pages, Place
from sidecar.session.route import Route

MAX_OUTSTANDING: Final = 10_000
"""Requests of one session that may wait at once."""
MAX_CANCELLED: Final = 1_000
"""Cancelled requests that are remembered for an answer that may still come."""

Item = TypeVar("Item")


class Plain(msgspec.Struct, frozen=True):
    """A request that is no call: it was forwarded."""

    route: Route


class Hello(Plain, frozen=True):
    """The request `initialize`."""


class Subscription(Plain, frozen=True):
    """A request that stays open and brings news; `tools` when it asked for changes of the list of tools."""

    tools: bool


class Listing(Plain, frozen=True):
    """A request for the list of tools, or a page of it, with its place among the pages where it has one."""

    place: Place | None


class Call(msgspec.Struct):
    """A call: it is being judged in `trial` until there is a `forward`; from then on the server has it."""

    route: Route
    trial: Judgement | None = None
    forward: Forward | None = None


Outstanding: TypeAlias = Plain | Call


def is_judged(one: Outstanding) -> bool:
    """True for a call that is being judged."""
    return type(one) is Call and one.forward is None


def is_here(one: Outstanding) -> bool:
    """True for a request that the server has not got: it is being judged, or waits for the rest of its batch."""
    if type(one) is Call and one.forward is None:
        return True
    is_sent = one.route.is_sent
    return is_sent is not None and not is_sent()


ASKED: Final = Plain(Route(lambda _: None, lambda _: None))
"""A request of the server: its answer goes where every answer of the client goes."""


def unheard(one: Outstanding) -> Outstanding:
    """The same request, whose answer goes nowhere."""
    route = msgspec.structs.replace(one.route, to_client=_nowhere)
    return msgspec.structs.replace(one, route=route)


def as_outstanding(request: Request, route: Route, pages: Pages) -> Plain:
    """A request that is no call, as it waits. `pages` are those that its client asks for."""
    match request.method:
        case protocol.TOOLS_LIST:
            return Listing(route, pages.asked((request.params or {}).get("cursor")))
        case protocol.INITIALIZE:
            return Hello(route)
        case protocol.LISTEN:
            return Subscription(route, tool_list.listens_for_tools(request))
        case _:
            return Plain(route)


def _nowhere(message: Outgoing) -> None:
    """Nobody waits for this answer any more."""


class OutstandingRequests(Generic[Item]):
    """The table: what is outstanding, by id."""

    def __init__(self) -> None:
        self._waiting: dict[Id, Item] = {}
        self._cancelled: OrderedDict[Id, Item] = OrderedDict()
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

    def open(self, id: Id, item: Item) -> None:  # noqa: A002
        """Note an outstanding request."""
        if type(id) is not self._type:
            self._type = type(id) if self._type is None else object
        self._waiting[id] = item

    def get(self, id: Id) -> Item | None:  # noqa: A002
        """What waits under exactly this id."""
        return self._waiting.get(id)

    def resembling(self, id: Id) -> tuple[Id, Item] | None:  # noqa: A002
        """The id and what waits under it, where the id is this one or looks the same."""
        for known in (id, _twin(id)):
            if known in self._waiting:
                return known, self._waiting[known]
        return None

    def waiting(self) -> list[tuple[Id, Item]]:
        """Every outstanding request that was not cancelled."""
        return list(self._waiting.items())

    def close(self, id: Id) -> Item | None:  # noqa: A002
        """Take out what waited for the answer with exactly this id; None when nothing did: the answer is foreign."""
        item = self._waiting.pop(id, None)
        return item if item is not None else self._cancelled.pop(id, None)

    def cancel(self, id: Id, late: Item) -> Item | None:  # noqa: A002
        """The request was cancelled: its answer, which settles `late`, may come or not.

        Returns the oldest such one that is given up.
        """
        if self._waiting.pop(id, None) is not None:
            self._cancelled[id] = late
        if len(self._cancelled) > MAX_CANCELLED:
            return self._cancelled.popitem(last=False)[1]
        return None

    def drain(self) -> list[tuple[Id, Item, bool]]:
        """Take out everything: id, what waited, and whether an answer is still expected."""
        everything = [(id_, item, True) for id_, item in self._waiting.items()]
        everything += [(id_, item, False) for id_, item in self._cancelled.items()]
        self._waiting.clear()
        self._cancelled.clear()
        return everything


def is_answer(problem: InvalidMessage, waiting: OutstandingRequests[Any]) -> bool:
    """Whether a message that cannot be read is an answer to one of those that wait.

    Where it does not tell itself, it is one when its id waits: ids begin at 1 on either side, and say little.
    """
    if problem.is_answer is not None:
        return problem.is_answer
    return problem.id is not None and waiting.get(problem.id) is not None


def _twin(id_: Id) -> Id | None:
    """The id of the other type that is written the same way; None where there is none."""
    if type(id_) is int:
        return str(id_)
    return int(id_) if _INTEGER.fullmatch(str(id_)) else None


# Only what `str` makes of an integer; longer ones are no ids.
_INTEGER: Final = re.compile("0|-?[1-9][0-9]{0,15}")
