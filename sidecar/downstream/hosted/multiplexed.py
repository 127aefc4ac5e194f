"""One server for all clients of the stateless revision: each request gets an id of our own, so that none meets another.

Ids, progress tokens and subscription ids are exchanged on the way there and back; everything else stays as it is. Ours
cannot be guessed: a tool that sends whatever a client asks it to must not reach another client's request by it.

The server learns from what it gets which revision it is to speak, with all its clients. So it gets only what is of the
stateless one, and says so itself.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from sidecar.auth.principal import Principal
from sidecar.downstream.hosted.replay_buffer import Stream, Unread
from sidecar.downstream.hosted.writer import write
from sidecar.downstream.mirrored_arguments import Marked
from sidecar.downstream.post import Post
from sidecar.errors import InvalidMessage, SidecarError
from sidecar.events import Dropped, Emit, UpstreamFailed
from sidecar.http.server import Exchange
from sidecar.http.values import JSON, Response
from sidecar.http.values import Request as HttpRequest
from sidecar.mcp import jsonrpc, protocol
from sidecar.mcp.jsonrpc import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Batch,
    Message,
    Notification,
    Outgoing,
    Request,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.session.reading import Lane, Read, Reader
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.system import defects, tasks
from sidecar.system.flow import Valve
from sidecar.system.lines import TooLong
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget
from sidecar.upstream.failure import GIVEN_UP, Failure, NotConnected
from sidecar.upstream.link import Link, Said, understood

MAX_WAITING: Final = 4 << 20
"""Bytes of news that may wait for one client while there are others; then it is given up: all share a server."""
PAUSE: Final = 1.0
"""Seconds between two starts of a server that ended."""

OpenLink: TypeAlias = Callable[[], Awaitable[Link]]
OpenSession: TypeAlias = Callable[[Principal | None, Route, Callable[[Message], None], str], Session]


@dataclass(slots=True)
class _Asked:
    """A request at the shared server: whose it is, what its client calls it, and where its answer goes."""

    session: Session
    id: jsonrpc.Id
    token: Any
    stream: Stream
    listens: bool


class Shared:
    """Clients without sessions in front of the one server that `open_link` starts when the first of them comes.

    What it says is read here, once, by `reader` where it is large.
    """

    def __init__(
        self, open_link: OpenLink, open_session: OpenSession, emit: Emit, server: str, unread: Unread | None = None,
        reader: Reader | None = None,
    ) -> None:  # fmt: skip
        self._unread = unread or Unread(MemoryBudget(DEFAULT_BUDGET))
        self._lane = Lane(reader or Reader())
        self._lane.hold = self._reads
        self._open_link = open_link
        self._open_session = open_session
        self._emit = emit
        self._server = server
        self.marked = Marked()
        self._asked: dict[jsonrpc.Id, _Asked] = {}
        self._link: Link | None = None
        self._opening: asyncio.Future[Link] | None = None
        self._not_before = 0.0
        self._watching: asyncio.Task[None] | None = None
        self._full = 0
        self._is_reading = False
        self._to_server = Valve()

    async def post(self, request: HttpRequest, exchange: Exchange, caller: Principal | None) -> None:
        """Answer one POST."""
        stream = Stream("", self._hold, self._unread)
        stream.expect(1)
        task = asyncio.current_task()
        assert task is not None

        def tell(message: Message) -> None:
            stream.put(message.raw)
            if stream.waiting > MAX_WAITING and len(self._asked) > 1:
                exchange.abort()
                task.cancel()

        def look(message: Message) -> None:
            post.look(message)
            _check_revision(message)

        post = Post(
            request.headers, lambda message: stream.answer(message.raw),
            meanwhile=lambda message: stream.put(message.raw), marked=self.marked,
        )  # fmt: skip
        session = self._open_session(caller, post.route, tell, post.revision)
        exchange.on_gone(task.cancel)
        try:
            session.from_client(request.take(), post.route, look)
            await post.settled_or_held()
            if post.is_held:
                await self._held(session, stream, post, exchange)
                return
            if not post.goes_on or not post.requests:
                # This revision has no notifications of clients over HTTP, so there is nothing to pass on.
                exchange.send(post.outcome())
                return
            await self._ask(session, stream, post, exchange)
        except asyncio.CancelledError:
            if not exchange.gone:
                raise
        finally:
            session.close()
            stream.drop()

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever subscribed to that."""
        for asked in list(self._asked.values()):
            asked.session.tools_changed()

    def end_streams(self) -> None:
        """End the streams on which clients only listen."""
        for asked in list(self._asked.values()):
            if asked.listens:
                asked.stream.end()

    async def end(self) -> None:
        """End the server."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._link is not None:
            link, self._link = self._link, None
            await link.stop(ask=False)
            link.close()
        if self._watching is not None:
            self._watching.cancel()

    async def _ask(self, session: Session, stream: Stream, post: Post, exchange: Exchange) -> None:
        async with self._sent(session, stream, post) as problem:
            if problem is not None:
                exchange.send(Response(200, (("content-type", JSON),), problem.raw))
                return
            exchange.let_go()
            await write(stream, exchange, (), listens=post.listens)

    async def _held(self, session: Session, stream: Stream, post: Post, exchange: Exchange) -> None:
        """A call waits for a person: what its client hears of that goes down the answer, and then what comes of it."""
        going_on = tasks.start(self._going_on(session, stream, post, exchange))
        try:
            await write(stream, exchange, ())
        finally:
            going_on.cancel()

    async def _going_on(self, session: Session, stream: Stream, post: Post, exchange: Exchange) -> None:
        """Wait for what becomes of a call that is held, and see to it until this is cancelled."""
        try:
            await self._go_on(session, stream, post, exchange)
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever, whatever it is
            text = defects.text(defects.tell("one message is refused", error))
            stream.answer(jsonrpc.error(post.requests[0], jsonrpc.INTERNAL_ERROR, text).raw)

    async def _go_on(self, session: Session, stream: Stream, post: Post, exchange: Exchange) -> None:
        await post.settled()
        if not post.goes_on:
            stream.answer(post.outcome().body)
            return
        async with self._sent(session, stream, post) as problem:
            if problem is not None:
                stream.answer(problem.raw)
                return
            exchange.let_go()
            await asyncio.get_running_loop().create_future()

    @asynccontextmanager
    async def _sent(self, session: Session, stream: Stream, post: Post) -> AsyncIterator[jsonrpc.Response | None]:
        """Send what passed to the server while this lasts, and cancel it there at the end unless it is answered.

        Gives the error for the client where there is no server.
        """
        try:
            link = await self._ready()
        except SidecarError as problem:
            cause = problem.failure.cause if isinstance(problem, NotConnected) else "unsent"
            failure = Failure(str(problem), Outcome.NOT_RUN, cause)
            unanswered = session.unanswered(post.requests[0], failure)
            assert unanswered is not None  # it was sent on just now
            yield unanswered[1]
            return
        name = secrets.token_urlsafe(16)
        self._asked[name] = _Asked(session, post.requests[0], post.tokens[0], stream, post.listens)
        self._pace()
        try:
            link.send(_renamed(post.take(), name))
            yield None
        finally:
            del self._asked[name]
            self._pace()
            if not stream.ended and self._link is link:
                link.send(jsonrpc.notification(protocol.CANCELLED, {"requestId": name}))

    async def _ready(self) -> Link:
        """The server, when it takes more."""
        while True:
            link = await self._opened()
            await self._to_server.passed()
            if self._link is link:
                return link

    async def _opened(self) -> Link:
        if self._link is not None:
            return self._link
        if self._opening is None:
            # A task of its own: whoever came first may leave, and others wait for it too.
            self._opening = asyncio.ensure_future(self._open())
            self._opening.add_done_callback(self._has_opened)
        return await asyncio.shield(self._opening)

    async def _open(self) -> Link:
        now = asyncio.get_running_loop().time()
        if now < self._not_before:
            raise SidecarError("the MCP server ended just now: try again")
        self._not_before = now + PAUSE
        link = await self._open_link()
        self._link = link
        link.begin(partial(self._received, link), self._to_server.close, self._unanswered)
        self._watching = tasks.start(self._watch(link))
        return link

    def _has_opened(self, opening: asyncio.Future[Link]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # each who waits for it has it

    async def _watch(self, link: Link) -> None:
        await link.ended()
        await self._lane.caught_up()
        cause = GIVEN_UP
        if self._link is link:
            cause, self._link = link.cause, None
            link.close()
            self._to_server.close(False)
        for asked in list(self._asked.values()):
            await asked.session.caught_up()
            asked.session.server_ended(cause)

    # From the server.

    def _received(self, link: Link, said: Said) -> None:
        def take(read: Read) -> None:
            try:
                message: Message | Batch | InvalidMessage = read()
            except InvalidMessage as problem:
                message = problem
            self._take(link, message)

        if isinstance(said, bytes | TooLong) and len(said) > self._lane.at_once:
            self._lane.put(said, take, lambda: None)
        else:
            self._take(link, understood(said))

    def _take(self, link: Link, message: Message | Batch | InvalidMessage) -> None:
        if self._link is not link:
            return  # it is over; what it left behind may still write
        match message:
            case InvalidMessage():
                self._unreadable(message)
            case jsonrpc.Response():
                asked = self._asked.get(message.id) if message.id is not None else None
                if asked is None:
                    self._drop("an answer that no request waits for")
                else:
                    asked.session.from_server(jsonrpc.changed(message, {("id",): asked.id}))
            case Notification():
                self._notified(message)
            case Batch():
                self._drop("this revision has no batches")
            case _:
                self._drop("a request to the client, which this revision does not have")
                link.send(jsonrpc.error(message.id, INVALID_REQUEST, "this revision has no requests to clients"))

    def _notified(self, message: Notification) -> None:
        about = protocol.related(message)
        named = self._asked.get(about.name) if about is not None and type(about.name) is str else None
        if about is None or named is None or (about.by_token and named.token is None):
            # It may be about another client's request, also one that is over, and hold what that one said.
            self._drop("news that name no request")
            return
        own = named.token if about.by_token else named.id
        named.session.from_server(jsonrpc.changed(message, {about.path: own}))

    def _unanswered(self, name: jsonrpc.Id, failure: Failure) -> None:
        asked = self._asked.get(name)
        if asked is not None:
            asked.session.no_answer(asked.id, failure)

    def _unreadable(self, problem: InvalidMessage) -> None:
        # Nobody but us gives such ids: where it does not tell what it is, it is an answer.
        asked = self._asked.get(problem.id or "") if problem.is_answer is not False else None
        self._drop(str(problem))
        if asked is not None:
            text = f"the server's answer cannot be passed on: {problem}"
            self._emit(UpstreamFailed(self._server, "unreadable", 0, text))
            failure = Failure(text, Outcome.UNKNOWN, "unreadable")
            unanswered = asked.session.unanswered(asked.id, failure, jsonrpc.INTERNAL_ERROR)
            if unanswered is not None:
                unanswered[0].to_client(unanswered[1])

    def _drop(self, reason: str) -> None:
        self._emit(Dropped(self._server, "server", reason))

    # Whoever cannot keep up stops the other side.

    def _hold(self, now: bool) -> None:
        self._full += 1 if now else -1
        self._pace()

    def _reads(self, now: bool) -> None:
        """A large message of the server is read, or no longer."""
        self._is_reading = now
        self._pace()

    def _pace(self) -> None:
        """Take nothing from the server while nobody keeps up; one who does not must not stop the others.

        Nor while a large message of its is read, however many more it has.
        """
        if self._link is not None:
            self._link.pause(self._is_reading or 0 < len(self._asked) <= self._full)


def _check_revision(message: Message) -> None:
    """Refuse what would move the server to another revision. Raises `InvalidMessage`."""
    if not isinstance(message, Request):
        return  # nothing else is passed on
    if message.method in protocol.METHODS and message.method not in protocol.OF_STATELESS_CLIENTS:
        text = f"revision {protocol.STATELESS} has no {message.method}"
        raise InvalidMessage(METHOD_NOT_FOUND, text, message.id)
    if (protocol.stated_revision(message) or "") < protocol.STATELESS:
        text = "params._meta must say io.modelcontextprotocol/protocolVersion as the header MCP-Protocol-Version does"
        raise InvalidMessage(INVALID_PARAMS, text, message.id)


def _renamed(onward: Outgoing, name: str) -> Message:
    """A request with our name for its id, and for its progress where that was asked for."""
    assert isinstance(onward, Request)  # this revision has no batches, and nothing else is passed on
    changes: dict[tuple[str, ...], str] = {("id",): name}
    if protocol.progress_token(onward) is not None:
        changes["params", "_meta", "progressToken"] = name
    return jsonrpc.changed(onward, changes)
