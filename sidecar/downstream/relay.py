"""HTTP to HTTP: a request of a client becomes one of ours to the server; what comes back is judged and passed on.

Statuses, headers, session ids and event ids are the server's own; only tool calls and lists of tools are different from
what they would be without us.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

from sidecar import endtoend, jsonrpc, mirrored, tasks
from sidecar.downstream.guard import Guard, error_response
from sidecar.downstream.post import RESUME, SESSION, Post, first_word
from sidecar.downstream.sessions import Sessions, Table
from sidecar.endtoend import Fields
from sidecar.errors import InvalidMessage, SidecarError
from sidecar.events import Dropped, Emit
from sidecar.framing import TooLong
from sidecar.http.client import Answer, Lost, Unreachable
from sidecar.http.server import Exchange, Gone
from sidecar.http.sse import Event, event_bytes
from sidecar.http.values import Headers, Repeated, Request, Response
from sidecar.jsonrpc import Message
from sidecar.principal import Principal, key_of
from sidecar.protocol import SERVER_GONE, Outcome
from sidecar.session import Route, Session
from sidecar.upstream.remote import EVENTS, GONE, JSON, LOST, MAX_REFUSAL, NOT_RUN, Remote, media_type, redirected

WITHOUT_HEADER: Final = "2025-03-26"
"""The revision of a request that says none (revision 2025-06-18, transports)."""

OpenSession = Callable[["Tracked", Principal | None, str], Session]
"""Makes the session of a tracked client: with its caller, and the revision where it is known."""


class Tracked:
    """One client at the server: its session, the server's id for it where there is one, and who listens to it.

    `tell` sends the server an answer of ours to a request of its own.
    """

    def __init__(
        self, open_session: OpenSession, caller: Principal | None, revision: str, tell: Callable[[Tracked, bytes], None]
    ) -> None:
        self.id = ""
        self.streams: set[Callable[[bytes], None]] = set()
        self.route = Route(lambda message: None, lambda message: tell(self, message))
        self.session = open_session(self, caller, revision)

    def announce(self, message: Message) -> None:
        """Tell the client something that the server did not say, where anybody listens."""
        for write in list(self.streams):
            write(message.raw)


class Relay:
    """Serves the requests that `guard` admitted; `credentials` says whether the client's go along to the server."""

    def __init__(
        self, remote: Remote, guard: Guard, table: Table, open_session: OpenSession, emit: Emit, server: str, *,
        credentials: bool,
    ) -> None:  # fmt: skip
        self._remote = remote
        self._guard = guard
        self._sessions: Sessions[Tracked] = Sessions(table, lambda tracked: tracked.session.close())
        self._open = open_session
        self._emit = emit
        self._server = server
        self._credentials = credentials
        self._telling: set[asyncio.Task[None]] = set()
        self._listening: set[Tracked] = set()
        self._streaming: set[asyncio.Task[None]] = set()

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""
        caller = await self._guard.caller(request.headers)
        if isinstance(caller, Response):
            exchange.send(caller)
            return
        try:
            match request.method:
                case "POST":
                    await self._post(request, exchange, caller)
                case "GET":
                    await self._get(request, exchange, caller)
                case _:
                    await self._delete(request, exchange, caller)
        except Repeated as problem:
            exchange.send(error_response(400, f"the header {problem.name} stands twice"))
        except Gone:
            return
        except asyncio.CancelledError:
            if not exchange.gone:
                raise

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever listens for it."""
        for tracked in {*self._sessions, *self._listening}:
            tracked.session.tools_changed()

    def end_streams(self) -> None:
        """End the streams on which clients only listen."""
        for task in list(self._streaming):
            task.cancel()

    def end_idle(self) -> None:
        """End the sessions that nobody used for long."""
        self._sessions.end_idle()

    async def close(self) -> None:
        """End every session here; the server's own go on."""
        self._sessions.end_all()
        await self._remote.close()

    # POST.

    async def _post(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        post = Post(request.headers)
        named = None if post.is_stateless else request.headers.get(SESSION)
        if named is None:
            await self._post_alone(post, request, exchange, caller)
            return
        opened = self._sessions.find(named, key_of(caller))
        if opened is None:
            exchange.send(_unknown_session())
            return
        with self._sessions.used(opened) as tracked:
            if caller is not tracked.session.caller.principal:
                tracked.session.caller = replace(tracked.session.caller, principal=caller)
            await self._exchange(post, tracked, request, exchange)

    async def _post_alone(self, post: Post, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        """A POST outside any session: its ids are its own. It may open one."""
        tracked = Tracked(self._open, caller, post.revision or WITHOUT_HEADER, self._tell)
        if post.is_stateless:
            # There the end of the connection is how a client cancels.
            exchange.on_gone(_this_task().cancel)
        try:
            await self._exchange(post, tracked, request, exchange)
        finally:
            if not tracked.id:
                tracked.session.close()

    async def _exchange(self, post: Post, tracked: Tracked, request: Request, exchange: Exchange) -> None:
        session = tracked.session
        session.from_client(request.body, post.route, post.look)
        await post.known()
        if post.onward is None:
            exchange.send(first_word(post))
            return
        if not post.is_stateless:
            # The server is to see that nobody reads any more, as it would without us. To end or go on is its choice.
            exchange.on_gone(_this_task().cancel)
        try:
            await self._ask(post, tracked, request, exchange)
        finally:
            if not post.resumable:
                # Nobody can come back for what has not been answered.
                _unanswered(session, post, LOST)

    async def _ask(self, post: Post, tracked: Tracked, request: Request, exchange: Exchange) -> None:
        assert post.onward is not None  # otherwise there is nothing to ask
        try:
            with self._sessions.opening() if post.hello else nullcontext():
                answer = await self._remote.send("POST", self._onward_of(post, request.headers), post.onward)
                if post.hello and not post.is_stateless and answer.status < 300:
                    self._note_session(answer.headers.all(SESSION), tracked)
        except SidecarError as problem:
            _send_error(exchange, tracked.session, post, str(problem), Outcome.ERROR)
            return
        except Unreachable:
            _send_error(exchange, tracked.session, post, GONE, Outcome.ERROR)
            return
        except Lost:
            _send_error(exchange, tracked.session, post, LOST)
            return
        try:
            await self._pass_on(answer, post, tracked, exchange)
        finally:
            answer.abort()

    def _note_session(self, ids: list[str], tracked: Tracked) -> None:
        """The server opened a session: from now on it is known by its id."""
        if len(ids) == 1 and _SESSION_ID.fullmatch(ids[0]):
            tracked.id = ids[0]
            principal = tracked.session.caller.principal
            self._sessions.open(tracked.id, tracked, key_of(principal))

    async def _pass_on(self, answer: Answer, post: Post, tracked: Tracked, exchange: Exchange) -> None:
        session = tracked.session
        kind = media_type(answer.headers)
        status = answer.status
        if (text := redirected(status)) is not None:
            _send_error(exchange, session, post, text, Outcome.ERROR)
        elif status >= 400:
            await self._pass_refusal(answer, post, session, exchange)
        elif not post.requests:
            exchange.send(Response(status, tuple(self._back(answer))))
        elif kind == EVENTS:
            await self._pass_events(answer, post, tracked, exchange)
        elif kind == JSON:
            await self._pass_json(answer, post, session, exchange)
        else:
            _send_error(exchange, session, post, f"the MCP server answered status {status} and no message")

    async def _pass_json(self, answer: Answer, post: Post, session: Session, exchange: Exchange) -> None:
        try:
            body = await answer.read(self._remote.limit)
        except Lost:
            _send_error(exchange, session, post, LOST)
            return
        if not body:
            _send_error(exchange, session, post, "the MCP server answered with nothing")
            return
        message = await _judged(session, body)
        if message is None:
            _send_error(exchange, session, post, "the MCP server's answer is no answer to this")
            return
        if post.answer is not None:
            # A part of the batch was refused by us: both parts are one answer.
            message = jsonrpc.joined([*_elements(post.answer.body), *_elements(message)])
        exchange.send(Response(answer.status, (("content-type", JSON), *self._back(answer)), message))

    async def _pass_refusal(self, answer: Answer, post: Post, session: Session, exchange: Exchange) -> None:
        """An error status: the server's own words go along where they are an error and nothing else."""
        try:
            body = await answer.read(MAX_REFUSAL)
        except Lost:
            body = b""
        message = await _shown(session, body, media_type(answer.headers)) if isinstance(body, bytes) else None
        _unanswered(session, post, GONE, Outcome.ERROR if answer.status in NOT_RUN else Outcome.UNKNOWN)
        types = answer.headers.all("content-type")[:1] if message else []
        headers = (*(("content-type", type_) for type_ in types), *self._back(answer))
        exchange.send(Response(answer.status, headers, message or b""))

    async def _pass_events(self, answer: Answer, post: Post, tracked: Tracked, exchange: Exchange) -> None:
        exchange.start(answer.status, [("content-type", EVENTS), *self._back(answer)])
        if post.answer is not None:
            await exchange.write(event_bytes(Event(post.answer.body.decode())))
        broken = False
        with self._told(tracked, exchange, listens=post.listens):
            try:
                async for event in self._remote.events(answer):
                    post.resumable |= isinstance(event, Event) and event.id is not None and bool(tracked.id)
                    await self._pass_event(event, tracked.session, exchange, replayed=False)
            except (Lost, ValueError):
                broken = True
        if not post.resumable:
            # Nobody can come back for the answer: the client must not wait for it.
            for message in _unanswered(tracked.session, post, LOST):
                await exchange.write(event_bytes(Event(message.decode())))
        if broken and post.resumable:
            exchange.abort()
        else:
            exchange.end()

    @contextmanager
    def _told(self, tracked: Tracked, exchange: Exchange, *, listens: bool) -> Iterator[None]:
        """While this lasts, a client that listens on this answer is told of changes."""

        def tell(message: bytes) -> None:
            if not exchange.gone:
                exchange.write_now(event_bytes(Event(message.decode())))

        task = _this_task()
        if listens:
            tracked.streams.add(tell)
            self._listening.add(tracked)
            self._streaming.add(task)
        try:
            yield
        finally:
            self._streaming.discard(task)
            tracked.streams.discard(tell)
            if not tracked.streams:
                self._listening.discard(tracked)

    async def _pass_event(
        self, event: Event | TooLong, session: Session, exchange: Exchange, *, replayed: bool
    ) -> None:  # fmt: skip
        if isinstance(event, TooLong):
            message = await _judged(session, event, replayed=replayed)
            if message is not None:
                await exchange.write(event_bytes(Event(message.decode())))
            return
        if event.data:
            if event.type != "message":
                self._emit(Dropped(self._server, "server", "an event of a kind that carries no message"))
                return
            message = await _judged(session, event.data.encode(), replayed=replayed)
            if message is None:
                return
            event = replace(event, data=message.decode())
        await exchange.write(event_bytes(event))

    # GET and DELETE.

    async def _get(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        named = request.headers.get(SESSION)
        if named is None:
            await self._listen(request, exchange, Tracked(self._open, caller, "", self._tell))
            return
        opened = self._sessions.find(named, key_of(caller))
        if opened is None:
            exchange.send(_unknown_session())
            return
        with self._sessions.used(opened) as tracked:
            await self._listen(request, exchange, tracked)

    async def _listen(self, request: Request, exchange: Exchange, tracked: Tracked) -> None:
        exchange.on_gone(_this_task().cancel)
        replayed = request.headers.get(RESUME) is not None
        try:
            answer = await self._remote.send("GET", self._onward(request.headers))
            try:
                if answer.status >= 300 or media_type(answer.headers) != EVENTS:
                    await self._pass_status(answer, exchange)
                    return
                exchange.start(answer.status, [("content-type", EVENTS), *self._back(answer)])
                with self._told(tracked, exchange, listens=True):
                    async for event in self._remote.events(answer):
                        await self._pass_event(event, tracked.session, exchange, replayed=replayed)
                exchange.end()
            finally:
                answer.abort()
        except Unreachable:
            exchange.send(error_response(502, GONE, code=SERVER_GONE))
        except (Lost, ValueError):
            exchange.abort()

    async def _delete(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        named = request.headers.get(SESSION)
        if named is not None and self._sessions.find(named, key_of(caller)) is None:
            exchange.send(_unknown_session())
            return
        try:
            answer = await self._remote.send("DELETE", self._onward(request.headers))
        except ConnectionError:
            exchange.send(error_response(502, GONE, code=SERVER_GONE))
            return
        try:
            await self._pass_status(answer, exchange)
        finally:
            answer.abort()
        if named is not None and (answer.status < 300 or answer.status == 404):
            self._sessions.close(named)

    async def _pass_status(self, answer: Answer, exchange: Exchange) -> None:
        """An answer without a message: its status, and its words where it refuses."""
        if (text := redirected(answer.status)) is not None:
            exchange.send(error_response(502, text, code=SERVER_GONE))
            return
        body = await answer.read(MAX_REFUSAL) if answer.status >= 400 else b""
        value = _readable(body) if isinstance(body, bytes) and media_type(answer.headers) == JSON else None
        message = jsonrpc.encode(value) if value is not None and "error" in value else b""
        headers = ((("content-type", JSON),) if message else ()) + tuple(self._back(answer))
        exchange.send(Response(answer.status, headers, message))

    # To the server, unasked.

    def _tell(self, tracked: Tracked, message: bytes) -> None:
        """Answer a request of the server that the client never got."""
        if tracked.id:
            task = tasks.start(self._send_told(tracked, message))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _send_told(self, tracked: Tracked, message: bytes) -> None:
        headers = [
            ("content-type", JSON), ("accept", f"{JSON}, {EVENTS}"), (SESSION, tracked.id),
            (mirrored.VERSION, tracked.session.revision), *self._remote.fixed(),
        ]  # fmt: skip
        try:
            (await self._remote.send("POST", headers, message)).abort()
        except ConnectionError:
            self._emit(Dropped(self._server, "client", "our answer to a request of the server did not reach it"))

    # Parts.

    def _onward(self, headers: Headers) -> Fields:
        return endtoend.onward(headers, self._remote.fixed(), credentials=self._credentials)

    def _onward_of(self, post: Post, headers: Headers) -> Fields:
        fields = [("content-type", JSON), *self._onward(headers)]
        if post.is_stateless:
            # Nobody looked whose session that is, and there are none in this revision.
            return [(name, value) for name, value in fields if name != SESSION]
        return fields

    def _back(self, answer: Answer) -> Fields:
        return endtoend.back(answer.headers, cookies=self._credentials)


class _Once:
    """What becomes of one message of the server, waited for."""

    __slots__ = ("_future", "_message", "_there")

    def __init__(self) -> None:
        self._there = False
        self._message: bytes | None = None
        self._future: asyncio.Future[None] | None = None

    def deliver(self, message: bytes | None) -> None:
        self._there, self._message = True, message
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def message(self) -> bytes | None:
        if not self._there:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        return self._message


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None  # requests are answered in tasks
    return task


async def _judged(session: Session, message: bytes | TooLong, *, replayed: bool = False) -> bytes | None:
    """What the client may see of a message of the server, or None."""
    once = _Once()
    session.from_server(message, once.deliver, replayed=replayed)
    return await once.message()


async def _shown(session: Session, body: bytes, kind: str) -> bytes | None:
    """What the client may see of the body of a refusal: an error in JSON, or words that nobody could take for JSON.

    Whatever type it says, because clients exist that do not look at it.
    """
    problem = _readable(body)
    if problem is not None:
        return await _judged(session, body) if _is_message(problem) else jsonrpc.encode(problem)
    return None if kind in (JSON, EVENTS) or _LIKE_JSON.match(body) else body


def _unanswered(session: Session, post: Post, text: str, outcome: Outcome = Outcome.UNKNOWN) -> list[bytes]:
    """The errors that answer what a POST still waits for."""
    found = [session.unanswered(id_, text, outcome=outcome) for id_ in post.sent]
    return [one[1] for one in found if one is not None]


def _send_error(
    exchange: Exchange, session: Session, post: Post, text: str, outcome: Outcome = Outcome.UNKNOWN
) -> None:  # fmt: skip
    """Answer a POST whose messages get no answer of the server."""
    errors = _unanswered(session, post, text, outcome)
    if post.answer is not None:
        errors.append(post.answer.body)
    if not errors:
        exchange.send(error_response(502, text, code=SERVER_GONE))
    else:
        body = errors[0] if len(errors) == 1 else jsonrpc.joined(errors)
        exchange.send(Response(200, (("content-type", JSON),), body))


def _elements(message: bytes) -> list[bytes]:
    """The messages of a batch, or the one message."""
    value, raw = jsonrpc.read_value(message)
    return [jsonrpc.encode(element) for element in value] if type(value) is list else [raw]


def _readable(body: bytes) -> Any:
    """The JSON object of a body, or None where it is none that everybody reads alike."""
    try:
        value, _ = jsonrpc.read_value(body)
    except InvalidMessage:
        return None
    return value if type(value) is dict else None


def _is_message(value: dict[str, Any]) -> bool:
    return any(key.casefold() in ("jsonrpc", "result", "method", "tools") for key in value)


def _unknown_session() -> Response:
    return error_response(404, "there is no such session: initialize again")


_SESSION_ID = re.compile(r"[\x21-\x7e]{1,512}")
_LIKE_JSON = re.compile(rb"[\0\s\xef\xbb\xbf\xfe\xff]*[{\[]")
"""Text that begins like a message, in whatever encoding."""
