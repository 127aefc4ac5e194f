"""Streamable HTTP served by ourselves, in front of servers that are connections: a child, or a legacy stream.

Each session has a server of its own, and the ids in it are its own. Clients of the stateless revision have no session
and share one server (`sidecar.downstream.hosted.multiplexed`).
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeAlias

import msgspec

from sidecar.auth.principal import Principal, key_of
from sidecar.downstream.guard import error_response
from sidecar.downstream.hosted.multiplexed import Shared
from sidecar.downstream.hosted.replay_buffer import Stream, Unread
from sidecar.downstream.hosted.writer import write
from sidecar.downstream.mirrored_arguments import Marked
from sidecar.downstream.post import RESUME, SESSION, Post, cancelled, is_stateless, trace_in
from sidecar.downstream.sessions import NoRoom, Opened, Sessions, Table, full, holder
from sidecar.errors import InvalidMessage, SidecarError
from sidecar.http.server import Exchange
from sidecar.http.values import JSON, Headers, Request, Response
from sidecar.mcp import jsonrpc, protocol
from sidecar.mcp.jsonrpc import INVALID_REQUEST, Message, Notification, Outgoing
from sidecar.mcp.jsonrpc import Request as JsonRequest
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.system import tasks
from sidecar.system.flow import Valve
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget
from sidecar.upstream.link import Link

KEPT: Final = 16
"""Answers of one session that are kept for a client whose connection broke."""

OpenLink: TypeAlias = Callable[[], Awaitable[Link]]
OpenSession: TypeAlias = Callable[[Principal | None, Route, Callable[[Message], None], str], Session]
"""Makes a session of a caller, with its route, what hears the server's own messages, and its revision where known."""


class HostedSession:
    """One client and the server that is its own."""

    def __init__(
        self, open_session: OpenSession, principal: Principal | None, peer: str, unread: Unread
    ) -> None:  # fmt: skip
        self.id = secrets.token_urlsafe(24)
        self.holder = holder(principal, peer)
        self._unread = unread
        self.news = Stream("0", self._hold, unread)
        self._route = Route(self._say, self.send)
        self.session = open_session(principal, self._route, self._announce, "")
        self._link: Link | None = None
        self._names = map(str, itertools.count(1))
        self._streams: OrderedDict[str, Stream] = OrderedDict({"0": self.news})
        self._tokens: dict[Any, Stream] = {}
        self._full = 0
        self._to_server = Valve()

    def route(self, headers: Headers) -> Route:
        """The way of what a request with these headers carries, where every answer comes down one stream."""
        trace = trace_in(headers)
        return self._route if trace is None else msgspec.structs.replace(self._route, trace=trace)

    def begin(self, link: Link) -> None:
        """The server is there."""
        self._link = link
        self.session.holds(client=lambda now: None, server=self._hold)
        link.begin(self.session.from_server, self._to_server.close, self.session.no_answer)

    def send(self, message: Outgoing) -> None:
        """Send the server a message."""
        if self._link is not None:
            self._link.send(message)

    async def room(self) -> None:
        """Wait until the server takes more."""
        await self._to_server.passed()

    def stream(self, name: str) -> Stream | None:
        """The stream of this name, while it is kept."""
        return self._streams.get(name)

    def answering(self) -> Stream:
        """A new stream for the answers to a POST."""
        return Stream(next(self._names), self._hold, self._unread)

    def expect(self, stream: Stream, post: Post) -> None:
        """The answers to a POST, and what is told of their progress, belong to its stream: from now on it is kept."""
        stream.expect(len(post.sent))
        self.keep(stream)
        for token in post.tokens:
            if type(token) in (str, int):
                self._tokens[token] = stream

    def keep(self, stream: Stream) -> None:
        """Keep a stream for a client that comes back to it; of those that have ended only the last."""
        finished = [name for name, kept in self._streams.items() if kept.ended and not kept.reading]
        for name in finished[: max(0, len(finished) - KEPT)]:
            self._drop(name)
        self._streams[stream.name] = stream

    def _drop(self, name: str) -> None:
        stream = self._streams.pop(name)
        stream.drop()
        for token in [token for token, kept in self._tokens.items() if kept is stream]:
            del self._tokens[token]

    async def ended(self) -> None:
        """Wait for the end of the server, and answer then what waits for it."""
        assert self._link is not None  # it has begun
        await self._link.ended()
        await self.session.caught_up()
        self.session.server_ended(self._link.cause)

    async def end(self) -> None:
        """The session is over: its server too."""
        self.session.close()
        self._to_server.close(False)
        for stream in self._streams.values():
            stream.end()
            stream.drop()
        if self._link is not None:
            await self._link.stop(ask=False)
            self._link.close()

    def _say(self, message: Outgoing) -> None:
        self.news.put(message.raw)

    def _announce(self, message: Message) -> None:
        """What the server says unasked goes down the answer that it belongs to, as far as anybody can tell."""
        stream = None
        if isinstance(message, Notification):
            about = protocol.related(message)
            if about is not None and about.by_token and type(about.name) in (str, int):
                stream = self._tokens.get(about.name)
        if stream is None or stream.ended:
            # Most likely it is about what was asked last.
            stream = next((one for one in reversed(self._streams.values()) if not one.ended), self.news)
        stream.put(message.raw)

    def _hold(self, stop: bool) -> None:
        self._full += 1 if stop else -1
        if self._link is not None:
            self._link.pause(self._full > 0)


class Ending:
    """Ends sessions in the background: a server may take its time."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def end(self, hosted: HostedSession) -> None:
        """Begin to end one."""
        task = tasks.start(hosted.end())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self) -> None:
        """Wait until all are over."""
        while self._tasks:
            await asyncio.wait(self._tasks)


class Hosted:
    """Serves requests that were admitted; `open_link` starts a server."""

    def __init__(
        self, open_link: OpenLink, table: Table, open_session: OpenSession, shared: Shared, unread: Unread | None = None
    ) -> None:  # fmt: skip
        self._open_link = open_link
        self._unread = unread or Unread(MemoryBudget(DEFAULT_BUDGET))
        self._ending = Ending()
        self._sessions: Sessions[HostedSession] = Sessions(table, self._ending.end)
        self._open_session = open_session
        self._shared = shared
        self._watching: set[asyncio.Task[None]] = set()

    async def handle(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        """Answer one request."""
        if request.method == "POST":
            await self._post(request, exchange, caller)
            return
        opened = self._sessions.find(request.headers.get(SESSION) or "", key_of(caller))
        if opened is None:
            exchange.send(_unknown_session(request))
        elif request.method == "DELETE":
            self._sessions.close(opened.id)
            exchange.send(Response(204))
        else:
            with self._sessions.used(opened) as hosted:
                await self._get(hosted, request, exchange)

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever listens for it."""
        for hosted in self._sessions:
            hosted.session.tools_changed()
        self._shared.tools_changed()

    def end_streams(self) -> None:
        """End the streams on which clients only listen."""
        for hosted in self._sessions:
            hosted.news.end()
        self._shared.end_streams()

    def end_idle(self) -> None:
        """End the sessions that nobody used for long."""
        self._sessions.end_idle()

    async def close(self) -> None:
        """End every session and every server."""
        self._sessions.end_all()
        await self._shared.end()
        await self._ending.finish()

    async def _post(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        if is_stateless(request.headers):
            await self._shared.post(request, exchange, caller)
            return
        named = request.headers.get(SESSION)
        if named is None:
            await self._hello(HostedSession(self._open_session, caller, request.peer, self._unread), request, exchange)
            return
        opened = self._sessions.find(named, key_of(caller))
        if opened is None:
            exchange.send(_unknown_session(request))
            return
        with self._sessions.used(opened) as hosted:
            await hosted.room()
            if self._sessions.find(named, opened.principal) is not opened:
                exchange.send(_unknown_session(request))
                return
            hosted.session.caller = replace(hosted.session.caller, principal=caller)
            stream, post = _answered(hosted, request, self._shared.marked)
            hosted.session.from_client(request.take(), post.route, post.look)
            await post.settled_or_held()
            await (self._held if post.is_held else self._answer)(hosted, stream, post, exchange)

    async def _hello(self, hosted: HostedSession, request: Request, exchange: Exchange) -> None:
        """A POST outside any session must open one."""
        stream, post = _answered(hosted, request, self._shared.marked)

        def look(message: Message) -> None:
            post.look(message)
            if not post.hello:
                id_ = message.id if isinstance(message, JsonRequest) else None
                raise InvalidMessage(INVALID_REQUEST, "this needs a session: initialize first", id_)

        hosted.session.from_client(request.take(), post.route, look)
        await post.settled()
        if not post.goes_on:
            exchange.send(post.outcome())
            return
        try:
            opened = await begun(hosted, self._sessions, self._open_link)
        except NoRoom as problem:
            exchange.send(full(post.requests[0], problem))
            return
        except SidecarError as problem:
            error = jsonrpc.error(post.requests[0], protocol.SERVER_GONE, str(problem))
            exchange.send(Response(200, (("content-type", JSON),), error.raw))
            return
        watching = tasks.start(self._watch(hosted))
        self._watching.add(watching)
        watching.add_done_callback(self._watching.discard)
        with self._sessions.used(opened):
            await self._answer(hosted, stream, post, exchange, (SESSION, hosted.id))

    async def _answer(
        self, hosted: HostedSession, stream: Stream, post: Post, exchange: Exchange, *headers: tuple[str, str]
    ) -> None:  # fmt: skip
        """Send on what passed, and answer with what comes of it."""
        if post.goes_on and post.sent:
            hosted.expect(stream, post)
            if post.reply is not None:
                stream.put(post.reply.raw)
            hosted.send(post.take())
            exchange.let_go()
            await write(stream, exchange, headers, name_events=True)
            return
        if post.goes_on:
            hosted.send(post.take())
        exchange.send(post.outcome())

    async def _held(self, hosted: HostedSession, stream: Stream, post: Post, exchange: Exchange) -> None:
        """A call waits for a person: what its client hears of that goes down the answer, and then what comes of it."""
        (asked,) = post.requests  # no batch waits

        def settled() -> None:
            if post.goes_on:
                hosted.expect(stream, post)
                hosted.send(post.take())
                exchange.let_go()
                return
            stream.put(post.outcome().body)
            stream.end()
            hosted.keep(stream)  # a client that left and comes back hears that it is over

        post.when_settled(settled)
        exchange.on_gone(lambda: hosted.session.left(asked))
        await write(stream, exchange, (), name_events=True)

    async def _get(self, hosted: HostedSession, request: Request, exchange: Exchange) -> None:
        name, _, position = (request.headers.get(RESUME) or "").partition(".")
        resumed = hosted.stream(name) if position.isdecimal() and len(position) < 16 else None
        stream = resumed or hosted.news
        if stream.reading:
            exchange.send(error_response(409, "this stream is being read already", reason="session"))
            return
        await write(
            stream, exchange, (), after=min(int(position), stream.taken) if resumed else stream.taken,
            name_events=True, listens=True,
        )  # fmt: skip

    async def _watch(self, hosted: HostedSession) -> None:
        await hosted.ended()
        self._sessions.close(hosted.id)


async def begun(hosted: HostedSession, sessions: Sessions[HostedSession], open_link: OpenLink) -> Opened[HostedSession]:
    """Start the server of a session and open it. Raises `SidecarError`."""
    sessions.make_room(hosted.holder)
    # Its place is taken before the server starts, which lasts: others may ask for one meanwhile.
    opened = sessions.open(hosted.id, hosted, key_of(hosted.session.caller.principal), hosted.holder)
    with sessions.used(opened):
        try:
            link = await open_link()
        except BaseException:
            sessions.close(hosted.id)
            raise
    hosted.begin(link)
    if sessions.find(hosted.id, opened.principal) is not opened:
        await hosted.end()
        raise SidecarError("shutting down: connect again")
    return opened


def _answered(hosted: HostedSession, request: Request, marked: Marked) -> tuple[Stream, Post]:
    """A stream for the answers to a POST, and the POST that they go to."""
    stream = hosted.answering()

    def answer(message: Outgoing) -> None:
        stream.answer(message.raw)

    post = Post(
        request.headers, answer, lambda id_: answer(cancelled(id_)),
        meanwhile=lambda message: stream.put(message.raw), marked=marked,
    )  # fmt: skip
    return stream, post


def _unknown_session(request: Request) -> Response:
    if request.headers.get(SESSION) is None:
        return error_response(400, "this needs a session: initialize first", reason="session")
    return error_response(404, "there is no such session: initialize again", reason="session")
