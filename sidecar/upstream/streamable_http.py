"""A remote server by streamable HTTP as a connection: for clients that are not HTTP clients themselves.

What a client of that transport has to do is done here: the session's id, the headers that a message is mirrored in,
streams that are listened to and taken up again where they broke, and another session where the server forgot the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

from sidecar.errors import InvalidMessage
from sidecar.http.client import ClientResponse, Lost, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.sse import Event
from sidecar.http.values import EVENTS, JSON
from sidecar.mcp import jsonrpc, mirrored_headers, protocol
from sidecar.mcp.jsonrpc import Id, Message, Notification, Outgoing, Request, Response, messages_of
from sidecar.mcp.tool_call import MAX_TOOL_NAME, Outcome
from sidecar.system import tasks
from sidecar.system.flow import Valve
from sidecar.system.lines import TooLong
from sidecar.system.memory import WEIGHT, Share
from sidecar.system.operator_log import fields, log
from sidecar.upstream import listing
from sidecar.upstream.failure import Failure
from sidecar.upstream.link import Full, Received, Said, Unanswered
from sidecar.upstream.listing import reply_in, response
from sidecar.upstream.remote import CANCELLED, MAX_REFUSAL, Remote, failure_of, media_type, refusal

MAX_UNDER_WAY: Final = 256
"""Messages on their way to the server before nothing more is read from the client."""
MAX_TOOLS: Final = 2_000
"""Tools whose marked arguments are remembered."""
RECONNECT: Final = 1.0
"""Seconds before a stream that ended is opened again, unless the server says how many."""
MIN_RECONNECT: Final = 0.01
"""A server that says 0 must not keep us busy with nothing else."""
MAX_RECONNECT: Final = 30.0
ATTEMPTS: Final = 5
"""How often in a row a stream is taken up again without anything coming."""
INITIALIZED: Final = "notifications/initialized"
FAREWELL: Final = 1.0
"""Seconds for telling the server that its session is over."""
RENEWAL: Final = 10.0
"""Seconds that opening another session may take."""
PATIENCE: Final = 0.5
"""Seconds for which a message waits until the server took the notification before it."""
MAX_AGE: Final = 1.0
"""Seconds after which a call that waits here is not sent any more: another policy may be in force by then."""
TOO_LATE: Final = Failure("the call waited too long and was not sent: ask again", Outcome.NOT_RUN, "unsent")


@dataclass(eq=False, slots=True)
class _Asked:
    """A request of the client. Its id may be another's once it is answered: what becomes of it goes by this value."""

    request: Request
    since: float
    is_there: bool = False
    """The server may have it, and may have run it."""
    is_cancelled: bool = False
    is_answered: bool = False
    is_told: bool = False
    """Its answer came and cannot be read, which whoever takes it tells."""

    @property
    def is_late(self) -> bool:
        return self.request.method == protocol.TOOLS_CALL and monotonic() - self.since > MAX_AGE


@dataclass(frozen=True, slots=True)
class _ErrorStatus:
    """An answer with an error status, and the response in it where there is one."""

    status: int
    body: bytes | TooLong
    reply: Response | None

    def answers(self, id_: Id) -> bool:
        """True when it is an error about exactly this request."""
        reply = self.reply
        return reply is not None and reply.error is not None and type(reply.id) is type(id_) and reply.id == id_

    @property
    def is_about_session(self) -> bool:
        """True when the server does not know the session: 404, or 400 where it says so in words."""
        if isinstance(self.body, TooLong):
            return False
        return self.status == 404 or (self.status == 400 and _SESSION.search(self.body) is not None)

    @property
    def is_mismatch(self) -> bool:
        """True when headers say something else than the message, to the server."""
        error = self.reply.error if self.reply is not None else None
        return self.status == 400 and (error or {}).get("code") == mirrored_headers.HEADER_MISMATCH


class HttpLink:
    """A connection to the server at `remote`."""

    cause = "lost"
    """It ends before the client wants it only where the server forgot the session."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._received: Received = lambda message: None
        self._unanswered: Unanswered = lambda id_, failure: None
        self._full: Full = lambda now: None
        self._session = ""
        self._revision = ""
        self._hello: Request | None = None
        self._initialized: Notification | None = None
        self._renewal: asyncio.Task[bool] | None = None
        self._stateless = False
        self._marks: dict[str, dict[tuple[str, ...], str]] = {}
        self._under_way: dict[asyncio.Task[None], Share] = {}
        """What is at work about each message, and what that holds."""
        self._requests: dict[Id, tuple[_Asked, asyncio.Task[None]]] = {}
        self._before: asyncio.Task[None] | None = None
        self._valve = Valve()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        self._received, self._full, self._unanswered = received, full, unanswered

    def send(self, message: Outgoing) -> None:
        # A batch goes message by message: each request has an answer, and a stream, of its own.
        for one in messages_of(message):
            self._send(one)

    def _send(self, message: Message) -> None:
        match message:
            case Request():
                self._stateless = (protocol.stated_revision(message) or "") >= protocol.STATELESS
                if message.method == protocol.INITIALIZE:
                    self._hello = message
                self._begin(_Asked(message, monotonic()))
            case Notification() if self._cancel(message) or self._stateless:
                pass  # the stateless revision has no notifications of clients over HTTP
            case _:
                # In their order, and before what comes after them: the server may depend on it.
                self._before = self._spawn(self._note(message, self._before), len(message.raw))

    def _begin(self, asked: _Asked) -> None:
        task = self._spawn(self._request(asked, self._before), len(asked.request.raw))
        self._requests[asked.request.id] = asked, task
        # Not by the task itself: one that is cancelled at once does not even begin.
        task.add_done_callback(lambda _: self._requests.pop(asked.request.id) if self._has_id(asked) else None)

    def _cancel(self, note: Notification) -> bool:
        """Take a cancel of a request that is under way; True when the server need not hear of it by a message."""
        named = protocol.cancelled_id(note) if note.method == protocol.CANCELLED else None
        if named is None or named not in self._requests:
            return False
        asked, task = self._requests[named]
        asked.is_cancelled = True
        if asked.is_there and not self._stateless:
            return False
        # In the stateless revision the end of a connection is how to cancel.
        task.cancel()
        if not asked.is_there:
            self._fail(asked, CANCELLED)
        return True

    def _has_id(self, asked: _Asked) -> bool:
        return self._requests.get(asked.request.id, (None,))[0] is asked

    def _waits(self, asked: _Asked) -> bool:
        """Whether there is still an answer to come."""
        return not asked.is_answered and self._has_id(asked)

    def _fail(self, asked: _Asked, failure: Failure, *, tell: bool = False) -> None:
        """No answer will come, unless one came: by then another request may have the id.

        With `tell` the operator hears of it too.
        """
        if self._waits(asked):
            if tell and not asked.is_told:
                self._remote.tell(failure)
            self._unanswered(asked.request.id, failure)

    def pause(self, stop: bool) -> None:
        self._valve.close(stop)

    async def ended(self) -> int:
        return await asyncio.shield(self._ended)

    async def stop(self, ask: bool) -> int:
        if not ask:
            await self._finish_notes()
        if self._session:
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    (await self._remote.send("DELETE", self._headers())).abort()
        self.close()
        return await self.ended()

    def close(self) -> None:
        for task in (*self._under_way, *([self._renewal] if self._renewal is not None else [])):
            task.cancel()
        self._end(0)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    async def _finish_notes(self) -> None:
        if self._before is not None:
            await asyncio.wait([self._before], timeout=FAREWELL / 2)

    # To the server.

    async def _request(self, asked: _Asked, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait([before], timeout=PATIENCE)
            await self._ask(asked, again=True)
        except (Unreachable, Lost) as problem:
            self._fail(asked, failure_of(problem), tell=True)
        except ValueError as problem:
            self._fail(asked, failure_of(Lost(str(problem), "unreadable")), tell=True)

    async def _ask(self, asked: _Asked, *, again: bool) -> None:
        """Put a request; where that is to be, once more when the server refused it before it ran anything."""
        if asked.is_late:
            self._fail(asked, TOO_LATE, tell=True)
            return
        request, session = asked.request, self._session
        asked.is_there = True
        answer = await self._remote.send("POST", self._headers(request), request.raw)
        try:
            if answer.status >= 300:
                refused = await _read_refusal(answer)
                if again and self._is_wanted(asked) and await self._mended(refused, asked, session):
                    await self._ask(asked, again=False)
                else:
                    await self._refused(refused, asked)
                return
            if request.method == protocol.INITIALIZE:
                self._session = _session_id(answer)
            kind = media_type(answer.headers)
            if kind == EVENTS:
                await self._follow(answer, asked)
            elif kind == JSON:
                message = await answer.read(self._remote.limit)
                share = Share(self._remote.room, len(message) if isinstance(message, bytes) else 0)
                try:
                    await self._take(message, asked)
                finally:
                    share.hold(0)
            if self._waits(asked):
                answer.retire()
            text = f"the MCP server answered status {answer.status} and no message"
            self._fail(asked, Failure(text, Outcome.UNKNOWN, "unreadable"), tell=True)
        finally:
            answer.abort()

    async def _refused(self, refused: _ErrorStatus, asked: _Asked) -> None:
        """An error status: the server's own error where it is one about this request, else one that we make of it."""
        if refused.reply is not None and refused.answers(asked.request.id):
            await self._take(refused.reply, asked)
        self._fail(asked, refusal(refused.status), tell=True)

    def _is_wanted(self, asked: _Asked) -> bool:
        return self._waits(asked) and not asked.is_cancelled

    async def _mended(self, refused: _ErrorStatus, asked: _Asked, session: str) -> bool:
        """True when the server did not run anything for a reason that is mended now, and it is to be put again."""
        request = asked.request
        if isinstance(refused.body, TooLong):
            return False
        is_call = request.method == protocol.TOOLS_CALL
        if session and request.method != protocol.INITIALIZE and refused.is_about_session:
            # What answers this very request is about it, and may have come after it ran.
            if refused.answers(request.id):
                return False
            # So may a status 400, whatever it speaks of: a call that may have run is not put again.
            asked.is_there = is_call and refused.status != 404
            is_mended = await self._renewed(session) and not asked.is_there
        else:
            is_mended = self._stateless and is_call and await self._learnt_from(refused, asked)
        return is_mended and self._is_wanted(asked)

    # Another session.

    async def _renewed(self, forgotten: str) -> bool:
        """True when there is another session than the one that the server forgot."""
        if self._session != forgotten:
            return True
        if self._renewal is None or self._renewal.done():
            # A task of its own: whoever came first may be cancelled, and others wait for it too.
            self._renewal = asyncio.create_task(self._renew())
        return await asyncio.shield(self._renewal)

    async def _renew(self) -> bool:
        """Say hello again in the client's words."""
        assert self._hello is not None  # or there would be no session
        try:
            async with asyncio.timeout(RENEWAL):
                # Under an id that the client cannot have used.
                hello = jsonrpc.request("intercept/initialize", protocol.INITIALIZE, self._hello.params)
                answer = await self._remote.send("POST", self._headers(hello), hello.raw)
                reply = await reply_in(answer, self._remote.limit)
        except (Unreachable, Lost) as problem:
            self._remote.failed(problem)
            return False
        except (TimeoutError, ValueError):
            reply = None
        if reply is None or reply.error is not None:
            self._remote.tell(Failure("the MCP server forgot the session and opens no other", Outcome.NOT_RUN, "lost"))
            return False
        if protocol.agreed_revision(reply) != self._revision:
            log.error(
                "the MCP server forgot the session and speaks another revision now: start again",
                extra=fields("upstream_session_lost"),
            )
            self._end(1)
            return False
        self._session = _session_id(answer)
        if self._remote.renewals.admits():
            log.warning(
                "the MCP server forgot the session, another one is open: what was subscribed to is lost",
                extra=fields("upstream_session_renewed"),
            )
        if self._initialized is not None:
            await asyncio.wait([self._spawn(self._note(self._initialized, None), 0)], timeout=PATIENCE)
        return True

    # Marked arguments.

    async def _learnt_from(self, refused: _ErrorStatus, asked: _Asked) -> bool:
        """True when the server missed the headers of marked arguments, and we now know which are marked.

        It refused before it ran anything, so the call may be put again.
        """
        request = asked.request
        if request.params is None or request.params.get("name") in self._marks or not refused.is_mismatch:
            return False
        asked.is_there = False

        async def ask(page: Request) -> ClientResponse:
            return await self._remote.send("POST", self._headers(page), page.raw)

        async for reply in listing.pages(ask, request.params.get("_meta"), self._remote.limit):
            self._learn(reply)
        return request.params.get("name") in self._marks

    async def _note(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before], timeout=PATIENCE)
        try:
            answer = await self._remote.send("POST", self._headers(), message.raw)
        except ConnectionError:
            return  # nobody waits for an answer; requests that follow tell that the server is gone
        answer.abort()
        if isinstance(message, Notification) and message.method == INITIALIZED and answer.status < 300:
            self._initialized = message
            self._spawn(self._listen(), 0)

    def _headers(self, request: Request | None = None) -> Fields:
        headers = [("content-type", JSON), ("accept", f"{JSON}, {EVENTS}")]
        if request is not None and self._stateless:
            tool = (request.params or {}).get("name")
            headers += mirrored_headers.headers_of(
                request, self._marks.get(tool) if type(tool) is str else None
            ).items()
        else:
            if self._session and (request is None or request.method != protocol.INITIALIZE):
                headers.append(("mcp-session-id", self._session))
            if self._revision >= "2025-06-18":
                headers.append((mirrored_headers.VERSION, self._revision))
        fixed = self._remote.fixed()
        names = {name for name, _ in fixed}
        return [*((name, value) for name, value in headers if name not in names), *fixed]

    # From the server.

    async def _listen(self) -> None:
        """Hear what the server says unasked, for as long as it offers that."""
        last, delay, silent, session, was_heard = "", RECONNECT, 0, self._session, False
        while silent < ATTEMPTS and self._session == session and not self._ended.done():
            silent += 1
            with contextlib.suppress(ConnectionError, ValueError):
                answer = await self._open_stream(last)
                try:
                    if answer.status != 200 or media_type(answer.headers) != EVENTS:
                        if was_heard and session and (await _read_refusal(answer)).is_about_session:
                            await self._renewed(session)  # which listens anew
                        return
                    was_heard = True
                    async for event in self._remote.events(answer):
                        silent = 0
                        last, delay = _place(event, last, delay)
                        await self._hear(event)
                finally:
                    answer.abort()
            await asyncio.sleep(delay)

    async def _open_stream(self, last: str) -> ClientResponse:
        """Ask for the stream that the server may offer. Raises `Unreachable`, which is told, and `Lost`."""
        try:
            return await self._remote.send("GET", [*self._headers(), *_resume(last)])
        except Unreachable as problem:
            self._remote.failed(problem)
            raise

    async def _follow(self, answer: ClientResponse, asked: _Asked) -> None:
        """Hear the answer to a request; where the stream breaks off and can be taken up again, it is."""
        last, delay, silent = "", RECONNECT, 0
        try:
            while silent < ATTEMPTS:
                silent += 1
                try:
                    async for event in self._remote.events(answer):
                        silent = 0
                        last, delay = _place(event, last, delay)
                        await self._hear(event, asked)
                except Lost:
                    if not last:
                        raise
                if not last or self._stateless or self._ended.done() or not self._waits(asked):
                    return
                await asyncio.sleep(delay)
                with contextlib.suppress(ConnectionError):
                    answer.abort()
                    answer = await self._open_stream(last)
                    if answer.status != 200 or media_type(answer.headers) != EVENTS:
                        return
        finally:
            answer.abort()

    async def _hear(self, event: Event | TooLong, asked: _Asked | None = None) -> None:
        if isinstance(event, TooLong):
            await self._take(event, asked)
        elif event.data and event.type == "message":
            await self._take(event.data.encode(), asked)

    async def _take(self, said: Said, asked: _Asked | None = None) -> None:
        """Take a message of the server, which came down the answer to `asked` where it is one."""
        await self._valve.passed()
        message = await self._remote.reader.understood(said)
        if isinstance(message, Response):
            if asked is not None and message.id == asked.request.id and not self._has_id(asked):
                self._remote.say("the MCP server answers a request twice: what comes after the next one is dropped")
                return
            if message.id is not None and message.id in self._requests:
                self._requests[message.id][0].is_answered = True
            if not self._revision:
                self._revision = protocol.agreed_revision(message)
            self._learn(message)
        elif isinstance(message, InvalidMessage) and asked is not None and message.id == asked.request.id:
            asked.is_told = True
        self._received(message)

    def _learn(self, reply: Response) -> None:
        """Remember which arguments of the tools in a list are mirrored in headers."""
        tools = reply.result.get("tools") if type(reply.result) is dict else None
        for tool in tools if type(tools) is list else ():
            name = tool.get("name") if type(tool) is dict else None
            if type(name) is str and len(name) <= MAX_TOOL_NAME and len(self._marks) < MAX_TOOLS:
                self._marks[name] = mirrored_headers.marks_of(tool.get("inputSchema"))

    def _spawn(self, work: Coroutine[Any, Any, None], size: int) -> asyncio.Task[None]:
        """Have something done about a message of so many bytes."""
        task = tasks.start(work)
        self._under_way[task] = Share(self._remote.room, WEIGHT * size)
        if len(self._under_way) == MAX_UNDER_WAY:
            self._full(True)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task).hold(0)
        if len(self._under_way) == MAX_UNDER_WAY - 1:
            self._full(False)


def _place(event: Event | TooLong, last: str, delay: float) -> tuple[str, float]:
    """Where a stream is to be taken up again, and after how many seconds."""
    if isinstance(event, TooLong):
        return last, delay
    seconds = min(max(event.retry / 1000, MIN_RECONNECT), MAX_RECONNECT) if event.retry is not None else delay
    return event.id if event.id is not None else last, seconds


def _resume(last: str) -> Fields:
    return [("last-event-id", last)] if last else []


def _session_id(answer: ClientResponse) -> str:
    return (answer.headers.all("mcp-session-id") or [""])[0]


async def _read_refusal(answer: ClientResponse) -> _ErrorStatus:
    body = await answer.read(MAX_REFUSAL)
    return _ErrorStatus(answer.status, body, response(body) if isinstance(body, bytes) else None)


_SESSION = re.compile(rb"\bsession\b", re.IGNORECASE)
