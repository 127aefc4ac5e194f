"""A remote server by streamable HTTP as a connection: for clients that are not HTTP clients themselves.

What a client of that transport has to do is done here: the session's id, the headers that a message is mirrored in,
streams that are listened to and taken up again where they broke.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final

from sidecar import jsonrpc, mirrored, protocol, tasks
from sidecar.endtoend import Fields
from sidecar.errors import InvalidMessage
from sidecar.framing import TooLong
from sidecar.http.client import Answer, Lost, Unreachable
from sidecar.http.sse import Event
from sidecar.http.values import EVENTS, JSON
from sidecar.jsonrpc import Batch, Id, Message, Notification, Request, Response
from sidecar.protocol import Outcome
from sidecar.upstream import listing
from sidecar.upstream.link import Full, Received, Unanswered
from sidecar.upstream.listing import response
from sidecar.upstream.remote import GONE, LOST, MAX_REFUSAL, Remote, media_type, redirected, without_answer

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


class HttpLink:
    """A connection to the server at `remote`."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._received: Received = lambda message: None
        self._unanswered: Unanswered = lambda id_, text, outcome: None
        self._full: Full = lambda now: None
        self._session = ""
        self._revision = ""
        self._stateless = False
        self._marks: dict[str, dict[tuple[str, ...], str]] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._requests: dict[Id, asyncio.Task[None]] = {}
        self._waiting: set[Id] = set()
        self._before: asyncio.Task[None] | None = None
        self._going = asyncio.Event()
        self._going.set()
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        self._received, self._full, self._unanswered = received, full, unanswered

    def send(self, message: bytes) -> None:
        read = jsonrpc.read(message)
        # A batch goes message by message: each request has an answer, and a stream, of its own.
        for one in read.elements if isinstance(read, Batch) else (read,):
            assert not isinstance(one, InvalidMessage)  # what is sent was read before
            self._send(one)

    def _send(self, read: Message) -> None:
        match read:
            case Request():
                self._stateless = (protocol.stated_revision(read) or "") >= protocol.STATELESS
                self._waiting.add(read.id)
                self._requests[read.id] = self._spawn(self._request(read, self._before))
            case Notification() if self._stateless:
                # This revision has no notifications of clients over HTTP: the end of a connection is how to cancel.
                named = protocol.cancelled_id(read) if read.method == protocol.CANCELLED else None
                task = self._requests.get(named) if named is not None else None
                if task is not None:
                    task.cancel()
            case _:
                # In their order, and before what comes after them: the server may depend on it.
                self._before = self._spawn(self._note(read, self._before))

    def pause(self, stop: bool) -> None:
        (self._going.clear if stop else self._going.set)()

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
        for task in self._under_way:
            task.cancel()
        self._end(0)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    async def _finish_notes(self) -> None:
        if self._before is not None:
            await asyncio.wait([self._before], timeout=FAREWELL / 2)

    # To the server.

    async def _request(self, request: Request, before: asyncio.Task[None] | None) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            await self._ask(request, retry=self._stateless and request.method == protocol.TOOLS_CALL)
        except Unreachable:
            self._unanswered(request.id, GONE, Outcome.NOT_RUN)
        except (Lost, ValueError):
            self._unanswered(request.id, LOST, Outcome.UNKNOWN)
        finally:
            self._waiting.discard(request.id)
            if self._requests.get(request.id) is asyncio.current_task():
                del self._requests[request.id]

    async def _ask(self, request: Request, *, retry: bool) -> None:
        answer = await self._remote.send("POST", self._headers(request), request.raw)
        try:
            if answer.status >= 300:
                if retry and await self._learnt_from(answer, request):
                    await self._ask(request, retry=False)
                    return
                await self._refused(answer, request)
                return
            if request.method == protocol.INITIALIZE:
                self._session = (answer.headers.all("mcp-session-id") or [""])[0]
            kind = media_type(answer.headers)
            if kind == EVENTS:
                await self._follow(answer, request)
            elif kind == JSON:
                await self._take(await answer.read(self._remote.limit))
            if request.id in self._waiting:
                answer.retire()
            self._unanswered(
                request.id, f"the MCP server answered status {answer.status} and no message", Outcome.UNKNOWN
            )
        finally:
            answer.abort()

    async def _refused(self, answer: Answer, request: Request) -> None:
        """An error status: the server's own error where it is one about this request, else one that we make of it."""
        body = await answer.read(MAX_REFUSAL)
        if isinstance(body, bytes) and _answers(body, request.id):
            await self._take(body)
        outcome = without_answer(answer.status)
        text = f"the MCP server answered status {answer.status}"
        if answer.status == 401:
            text += ": it wants credentials, give them with --header"
        self._unanswered(request.id, redirected(answer.status) or text, outcome)
        if answer.status == 404 and self._session:
            self._end(1)  # the server forgot the session: the client has to begin anew

    async def _learnt_from(self, answer: Answer, request: Request) -> bool:
        """True when the server missed the headers of marked arguments, and we now know which are marked.

        It refused before it ran anything, so the call may be put again.
        """
        if answer.status != 400 or request.params is None or request.params.get("name") in self._marks:
            return False
        body = await answer.read(MAX_REFUSAL)
        if not isinstance(body, bytes) or not _is_mismatch(body):
            return False

        async def ask(page: Request) -> Answer:
            return await self._remote.send("POST", self._headers(page), page.raw)

        async for reply in listing.pages(ask, request.params.get("_meta"), self._remote.limit):
            self._learn(reply)
        return request.params.get("name") in self._marks

    async def _note(self, message: Message, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        try:
            answer = await self._remote.send("POST", self._headers(), message.raw)
        except ConnectionError:
            return  # nobody waits for an answer; requests that follow tell that the server is gone
        answer.abort()
        if isinstance(message, Notification) and message.method == INITIALIZED and answer.status < 300:
            self._spawn(self._listen())

    def _headers(self, request: Request | None = None) -> Fields:
        headers = [("content-type", JSON), ("accept", f"{JSON}, {EVENTS}")]
        if request is not None and self._stateless:
            tool = (request.params or {}).get("name")
            headers += mirrored.headers_of(request, self._marks.get(tool) if type(tool) is str else None).items()
        else:
            if self._session:
                headers.append(("mcp-session-id", self._session))
            if self._revision >= "2025-06-18":
                headers.append((mirrored.VERSION, self._revision))
        fixed = self._remote.fixed()
        names = {name for name, _ in fixed}
        return [*((name, value) for name, value in headers if name not in names), *fixed]

    # From the server.

    async def _listen(self) -> None:
        """Hear what the server says unasked, for as long as it offers that."""
        last, delay, silent = "", RECONNECT, 0
        while silent < ATTEMPTS and not self._ended.done():
            silent += 1
            with contextlib.suppress(ConnectionError, ValueError):
                answer = await self._remote.send("GET", [*self._headers(), *_resume(last)])
                try:
                    if answer.status != 200 or media_type(answer.headers) != EVENTS:
                        return
                    async for event in self._remote.events(answer):
                        silent = 0
                        last, delay = _place(event, last, delay)
                        await self._hear(event)
                finally:
                    answer.abort()
            await asyncio.sleep(delay)

    async def _follow(self, answer: Answer, request: Request) -> None:
        """Hear the answer to a request; where the stream breaks off and can be taken up again, it is."""
        last, delay, silent = "", RECONNECT, 0
        try:
            while silent < ATTEMPTS:
                silent += 1
                try:
                    async for event in self._remote.events(answer):
                        silent = 0
                        last, delay = _place(event, last, delay)
                        await self._hear(event)
                except Lost:
                    if not last:
                        raise
                if not last or self._stateless or self._ended.done() or request.id not in self._waiting:
                    return
                await asyncio.sleep(delay)
                with contextlib.suppress(ConnectionError):
                    answer.abort()
                    answer = await self._remote.send("GET", [*self._headers(), *_resume(last)])
                    if answer.status != 200 or media_type(answer.headers) != EVENTS:
                        return
        finally:
            answer.abort()

    async def _hear(self, event: Event | TooLong) -> None:
        if isinstance(event, TooLong):
            await self._take(event)
        elif event.data and event.type == "message":
            await self._take(event.data.encode())

    async def _take(self, message: bytes | TooLong) -> None:
        await self._going.wait()
        if isinstance(message, bytes) and (reply := response(message)) is not None:
            if reply.id is not None:
                self._waiting.discard(reply.id)
            if not self._revision:
                self._revision = protocol.agreed_revision(reply)
            self._learn(reply)
        self._received(message)

    def _learn(self, reply: Response) -> None:
        """Remember which arguments of the tools in a list are mirrored in headers."""
        tools = reply.result.get("tools") if type(reply.result) is dict else None
        for tool in tools if type(tools) is list else ():
            if type(tool) is dict and type(tool.get("name")) is str and len(self._marks) < MAX_TOOLS:
                self._marks[tool["name"]] = mirrored.marks_of(tool.get("inputSchema"))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = tasks.start(work)
        self._under_way.add(task)
        if len(self._under_way) == MAX_UNDER_WAY:
            self._full(True)
        task.add_done_callback(self._over)
        return task

    def _over(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
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


def _answers(body: bytes, id_: Id) -> bool:
    """True when a body is an error about exactly this request."""
    reply = response(body)
    return reply is not None and reply.error is not None and type(reply.id) is type(id_) and reply.id == id_


def _is_mismatch(body: bytes) -> bool:
    reply = response(body)
    return reply is not None and (reply.error or {}).get("code") == mirrored.HEADER_MISMATCH
