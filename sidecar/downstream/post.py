"""One POST of a client: the messages in it, and what becomes of them, waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from sidecar.downstream.marked import Marked
from sidecar.http.values import JSON, Headers, Response
from sidecar.mcp import jsonrpc, mirrored_headers, protocol
from sidecar.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    PARSE_ERROR,
    Batch,
    Id,
    Message,
    Notification,
    Request,
)
from sidecar.session.pending import Route

SESSION: Final = "mcp-session-id"
RESUME: Final = "last-event-id"

CANCELLED: Final = -32800
"""Code of the error that ends the stream of a request that was cancelled."""

_BAD_REQUEST: Final = (PARSE_ERROR, INVALID_REQUEST, INVALID_PARAMS, mirrored_headers.HEADER_MISMATCH)


_NOTHING: Final = Marked()


def _nobody(_: Any) -> None:
    """Nobody listens."""


class Post:
    """What a POST carried, and the first word on it: `onward` to the server, or `answer` to the client, or neither.

    `requests` are the ids of its requests, `sent` those of them that go on, and `tokens` what their progress is told
    under; `hello` is true when the client wants a session, `resumable` when it can come back for the answer. What is
    said after the first word goes to `later`. `marked` has the tools whose arguments are mirrored in headers. Raises
    `Repeated` for a header that may not stand twice.
    """

    def __init__(
        self, headers: Headers, later: Callable[[bytes], None] = _nobody, given_up: Callable[[Id], None] | None = None,
        *, marked: Marked = _NOTHING,
    ) -> None:  # fmt: skip
        self.requests: list[Id] = []
        self.sent: list[Id] = []
        self.tokens: list[Any] = []
        self.hello = False
        self.listens = False
        self._lists = False
        self.resumable = False
        self.onward: bytes | None = None
        self.answer: Response | None = None
        self._mirrors = headers.once(_mirrors)
        self._params = headers.once(mirrored_headers.params_of)
        self._marked = marked
        self.is_stateless = headers.once(is_stateless)
        """True for a revision that has no sessions."""
        self._is_known = False
        self._when_known: Callable[[], None] | None = None
        self._later = later
        self._given_up = given_up

    @property
    def route(self) -> Route:
        """The way of its messages. Not kept here: it holds this, and the two would hold each other."""
        return Route(self._reply, self._go_on, self._settle, self._refuse, self._given_up)

    @property
    def revision(self) -> str:
        """The protocol revision that the headers say; empty where they say none."""
        return self._mirrors[mirrored_headers.VERSION] or ""

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

    def shows(self, message: bytes) -> None:
        """The client is shown an answer: a list of tools says which arguments are mirrored in headers.

        Servers exist that leave that out for clients of the revisions before, so only the stateless one's counts.
        """
        if self._lists and self.is_stateless:
            self._marked.learn(message)

    def leave(self) -> bytes:
        """What goes on to the server, once: from now on it is held by whoever sends it."""
        assert self.onward is not None  # or nothing goes on
        onward, self.onward = self.onward, b""
        return onward

    def when_known(self, callback: Callable[[], None]) -> None:
        """Call back once the first word is said, at once where it was."""
        if self._is_known:
            callback()
        else:
            self._when_known = callback

    async def known(self) -> None:
        """Wait for the first word."""
        said = asyncio.get_running_loop().create_future()
        self.when_known(lambda: None if said.done() else said.set_result(None))
        await said

    def _reply(self, message: bytes) -> None:
        self.shows(message)
        if self.onward is not None:
            self._later(message)
        else:
            self._answered(Response(200, (("content-type", JSON),), message))

    def _refuse(self, message: bytes) -> None:
        code = msgspec.json.decode(message, type=_Refusal).error.code
        status = 400 if code in _BAD_REQUEST else 200
        if code == METHOD_NOT_FOUND and self.is_stateless:
            status = 404  # elsewhere it would say that the session is over
        self._answered(Response(status, (("content-type", JSON),), message))

    def _answered(self, answer: Response) -> None:
        self.answer = answer
        self._is_known = True
        if self._when_known is not None:
            # Of a batch a part may go on: that is said right after this.
            asyncio.get_running_loop().call_soon(self._tell)

    def _go_on(self, message: bytes) -> None:
        self.onward = message
        self.sent = _requests_in(message) if message.startswith(b"[") else self.requests
        self._settle()

    def _settle(self) -> None:
        self._is_known = True
        self._tell()

    def _tell(self) -> None:
        callback, self._when_known = self._when_known, None
        if callback is not None:
            callback()


def _mirrors(headers: Headers) -> Mapping[str, str | None]:
    return {
        name: headers.get(name) for name in (mirrored_headers.VERSION, mirrored_headers.METHOD, mirrored_headers.NAME)
    }


class _Code(msgspec.Struct):
    code: int


class _Refusal(msgspec.Struct):
    error: _Code


def _requests_in(batch: bytes) -> list[Id]:
    read = jsonrpc.read(batch)
    return [one.id for one in read.elements if isinstance(one, Request)] if isinstance(read, Batch) else []


def is_stateless(headers: Headers) -> bool:
    """True when the headers say a revision without sessions."""
    return (headers.get(mirrored_headers.VERSION) or "") >= protocol.STATELESS


def first_word(post: Post) -> Response:
    """What a client gets for a POST of which nothing goes on to the server."""
    if post.answer is not None:
        return post.answer
    if not post.requests:
        return Response(202)
    return Response(200, (("content-type", JSON),), cancelled(post.requests[0]))


def cancelled(id: Id) -> bytes:  # noqa: A002 - the protocol's word
    """The answer to a request that its client gave up."""
    return jsonrpc.error(id, CANCELLED, "cancelled")
