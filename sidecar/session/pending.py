"""The requests of a client that wait for their answers, as values: the way that each takes, and what it waits for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from sidecar.enforce.verdict import Forward
from sidecar.mcp import protocol, tool_list
from sidecar.mcp.jsonrpc import Id, Request
from sidecar.session.batches import Parted
from sidecar.session.judge import Judgement

Send: TypeAlias = Callable[[bytes], None]


def _nothing() -> None:
    """Nothing becomes of a message."""


def _nowhere(message: bytes) -> None:
    """Nobody waits for this answer any more."""


class Route(msgspec.Struct, frozen=True):
    """The way of one message of the client, and of the answer to it.

    Exactly one is called for each message: `to_server` with what is sent on, `to_client` with our own answer, `refuse`
    with our answer to what cannot be taken (`to_client` where there is none), or `nothing`. A batch may have both an
    answer and a part that is sent on, in this order. A request that was sent on is answered by `to_client` later,
    unless its answer is delivered elsewhere. Where the client gives it up, `given_up` hears of it and nothing comes
    after that; without a `given_up` its answer may still come. `has_left` gives False while what was sent on can be
    held back by calling `nothing` or `to_client`.
    """

    to_client: Send
    to_server: Send
    nothing: Callable[[], None] = _nothing
    refuse: Send | None = None
    given_up: Callable[[Id], None] | None = None
    has_left: Callable[[], bool] | None = None


class Plain(msgspec.Struct, frozen=True):
    """A request that is no call, forwarded and outstanding."""

    route: Route


class Hello(Plain, frozen=True):
    """The request `initialize`."""


class Subscription(Plain, frozen=True):
    """A request that stays open and brings news; `tools` when it asked for changes of the list of tools."""

    tools: bool


class Listing(Plain, frozen=True):
    """A request for the list of tools, or a page of it."""

    first: bool


class Call(msgspec.Struct):
    """A call: it is being judged in `trial` until there is a `forward`; from then on the server has it."""

    route: Route
    trial: Judgement | None = None
    forward: Forward | None = None


Pending: TypeAlias = Plain | Call


def is_judged(pending: Pending) -> bool:
    """True for a call that is being judged."""
    return type(pending) is Call and pending.forward is None


def is_here(pending: Pending) -> bool:
    """True for a request that the server has not got: it is being judged, or waits for the rest of its batch."""
    has_left = pending.route.has_left
    return is_judged(pending) or (has_left is not None and not has_left())


ASKED: Final = Plain(Route(lambda _: None, lambda _: None))
"""A request of the server: its answer goes where every answer of the client goes."""


def element(parted: Parted, place: int, route: Route) -> Route:
    """The way of one message of a batch: with its fellows until all are judged, then by itself."""

    def to_client(message: bytes) -> None:
        if parted.is_whole:
            route.to_client(message)
        else:
            parted.put(place, answer=message)

    return Route(
        to_client,
        to_server=lambda message: parted.put(place, onward=message),
        nothing=lambda: parted.put(place),
        given_up=route.given_up,
        has_left=lambda: parted.is_whole,
    )


def unheard(pending: Pending) -> Pending:
    """The same request, whose answer goes nowhere."""
    route = msgspec.structs.replace(pending.route, to_client=_nowhere)
    return msgspec.structs.replace(pending, route=route)


def pending_of(request: Request, route: Route) -> Plain:
    """A request that is no call, as it waits."""
    match request.method:
        case protocol.TOOLS_LIST:
            return Listing(route, first=not (request.params or {}).get("cursor"))
        case protocol.INITIALIZE:
            return Hello(route)
        case protocol.LISTEN:
            return Subscription(route, tool_list.listens_for_tools(request))
        case _:
            return Plain(route)
