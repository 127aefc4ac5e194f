"""One POST of a client: the messages in it, and what becomes of them, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.downstream.mirrored_arguments import Marked
from sidecar.http.values import EVENTS, JSON, Headers, Repeated, Response
from sidecar.mcp import jsonrpc, mirrored_headers, protocol
from sidecar.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Id,
    Message,
    Notification,
    Outgoing,
    Request,
    messages_of,
)
from sidecar.mcp.trace_context import TRACEPARENT, TraceContext, trace_of
from sidecar.session.route import Route, Send

SESSION: Final = "mcp-session-id"
RESUME: Final = "last-event-id"

CANCELLED: Final = -32800
"""Code of the error that ends the stream of a request that was cancelled."""

_BAD_REQUEST: Final = (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, mirrored_headers.HEADER_MISMATCH)


_NOTHING: Final = Marked()


def _nobody(_: Any) -> None:
    """Nobody listens."""


class Post:
    """What a POST carried, and the outcome of judging it: forward it (`goes_on`), reply (`reply`), or neither.

    `requests` are the ids of its requests, `sent` those of them that go on, and `tokens` what their progress is told
    under; `hello` is true when the client wants a session, `resumable` when it can come back for the answer. What is
    said once it was forwarded goes to `later`, and `cancelled` hears of a request that its client gave up then. While a
    call in it `is_held` for a person, what the client hears of that goes to `meanwhile`. `marked` has the tools whose
    arguments are mirrored in headers. Raises `Repeated` for a header that may not stand twice.
    """

    def __init__(
        self, headers: Headers, later: Send = _nobody, cancelled: Callable[[Id], None] | None = None,
        *, meanwhile: Send = _nobody, marked: Marked = _NOTHING,
    ) -> None:  # fmt: skip
        self.meanwhile = meanwhile
        self.is_held = False
        self.requests: list[Id] = []
        self.sent: list[Id] = []
        self.tokens: list[Any] = []
        self.hello = False
        self.listens = False
        self._lists = False
        self.resumable = False
        self.goes_on = False
        """True once something goes on to the server, whether that was taken since or not."""
        self._onward: Outgoing | None = None
        self.reply: Outgoing | None = None
        self._status = 200
        self._headers = headers
        self._mirrors = headers.once(_mirrors)
        self._params = headers.once(mirrored_headers.params_of)
        self._marked = marked
        self.is_stateless = headers.once(is_stateless)
        """True for a revision that has no sessions."""
        self._is_settled = False
        self._when_settled: Callable[[], None] | None = None
        self._when_held: Callable[[], None] | None = None
        self._later = later
        self._cancelled = cancelled

    @property
    def route(self) -> Route:
        """The way of its messages. Not kept here: it holds this, and the two would hold each other."""
        return Route(
            self._answer, self._forward, self._settle, self._refuse, self._cancelled, held=self._hold, tell=self._say,
            trace=trace_in(self._headers),
        )  # fmt: skip

    @property
    def revision(self) -> str:
        """The protocol revision that the headers say; empty where they say none."""
        return self._mirrors[mirrored_headers.VERSION] or ""

    @property
    def takes_events(self) -> bool:
        """True where the answer may be a stream of events."""
        accepted = ",".join(self._headers.all("accept")).lower()
        return not accepted or EVENTS in accepted or "*/*" in accepted

    @property
    def wants_marks(self) -> bool:
        """True when headers mirror arguments, and no list that counts says of which."""
        return (
            bool(self._params)
            and self._marked.of(mirrored_headers.decoded(self._mirrors[mirrored_headers.NAME] or "")) is None
        )

    def look(self, message: Message) -> None:
        """Note a message. Raises `InvalidMessage` when the headers say something else."""
        if isinstance(message, Request | Notification):
            mirrored_headers.check(message, self._mirrors)
            if (self.is_stateless or self._params) and message.method == protocol.TOOLS_CALL:
                self._check_params(message)
        if isinstance(message, Request):
            self.requests.append(message.id)
            self.tokens.append(protocol.progress_token(message))
            self.hello = message.method == protocol.INITIALIZE
            self._lists = message.method == protocol.TOOLS_LIST
            self.listens = message.method == protocol.LISTEN

    def _check_params(self, message: Request | Notification) -> None:
        if isinstance(message, Request):
            mirrored_headers.check_params(message, self._params, self._marked.of((message.params or {}).get("name")))

    def shows(self, message: Outgoing) -> None:
        """The client is shown an answer: a list of tools says which arguments are mirrored in headers.

        Servers exist that leave that out for clients of the revisions before, so only the stateless one's counts.
        """
        if self._lists and self.is_stateless and isinstance(message, jsonrpc.Response):
            self._marked.learn(message)

    def take(self) -> Outgoing:
        """What goes on to the server, once: from now on it is held by whoever sends it."""
        onward, self._onward = self._onward, None
        assert onward is not None  # or nothing goes on
        return onward

    def when_settled(self, callback: Callable[[], None]) -> None:
        """Call back once the outcome is settled, at once where it is."""
        if self._is_settled:
            callback()
        else:
            self._when_settled = callback

    def when_held(self, callback: Callable[[], None]) -> None:
        """Call back once a call in it is held for a person, at once where it is."""
        if self.is_held:
            callback()
        else:
            self._when_held = callback

    async def settled(self) -> None:
        """Wait until the outcome is settled."""
        await _called(self.when_settled)

    async def settled_or_held(self) -> None:
        """Wait until the outcome is settled, or until a person has to be waited for."""
        await _called(self.when_settled, self.when_held)

    def outcome(self) -> Response:
        """What the client gets where nothing that has an answer goes on to the server."""
        if self.reply is not None:
            return Response(self._status, (("content-type", JSON),), self.reply.raw)
        if not self.requests:
            return Response(202)
        return Response(200, (("content-type", JSON),), cancelled(self.requests[0]).raw)

    def _hold(self) -> None:
        self.is_held = True
        callback, self._when_held = self._when_held, None
        if callback is not None:
            callback()

    def _say(self, message: Outgoing) -> None:
        self.meanwhile(message)

    def _answer(self, message: Outgoing) -> None:
        self.shows(message)
        if self.goes_on:
            self._later(message)
        else:
            self._replied(message, 200)

    def _refuse(self, message: Outgoing) -> None:
        error = message.error if isinstance(message, jsonrpc.Response) else None
        code = (error or {}).get("code")
        status = 400 if code in _BAD_REQUEST else 200
        if code == METHOD_NOT_FOUND and self.is_stateless:
            status = 404  # elsewhere it would say that the session is over
        self._replied(message, status)

    def _replied(self, message: Outgoing, status: int) -> None:
        self.reply, self._status = message, status
        self._is_settled = True
        if self._when_settled is not None:
            # Of a batch a part may go on: that is said right after this.
            asyncio.get_running_loop().call_soon(self._tell)

    def _forward(self, message: Outgoing) -> None:
        self.goes_on, self._onward = True, message
        self.sent = [one.id for one in messages_of(message) if isinstance(one, Request)]
        self._settle()

    def _settle(self) -> None:
        self._is_settled = True
        self._tell()

    def _tell(self) -> None:
        callback, self._when_settled = self._when_settled, None
        if callback is not None:
            callback()


async def _called(*ways: Callable[[Callable[[], None]], None]) -> None:
    """Wait until one of these calls back."""
    done = asyncio.get_running_loop().create_future()
    for way in ways:
        way(lambda: None if done.done() else done.set_result(None))
    await done


def _mirrors(headers: Headers) -> Mapping[str, str | None]:
    return {
        name: headers.get(name) for name in (mirrored_headers.VERSION, mirrored_headers.METHOD, mirrored_headers.NAME)
    }


def trace_in(headers: Headers) -> TraceContext | None:
    """The trace that a request is a part of; None also where it names several (W3C Trace Context, 3.2)."""
    try:
        return trace_of(headers.get(TRACEPARENT))
    except Repeated:
        return None


def is_stateless(headers: Headers) -> bool:
    """True when the headers say a revision without sessions."""
    return (headers.get(mirrored_headers.VERSION) or "") >= protocol.STATELESS


def cancelled(id: Id) -> jsonrpc.Response:  # noqa: A002 - the protocol's word
    """The answer to a request that its client gave up."""
    return jsonrpc.error(id, CANCELLED, "cancelled")
