"""Answers of a server over HTTP, judged and passed on to the client that waits: whole, event by event, or refused.

Statuses and headers are the server's own, and so are event ids behind their seal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec

from sidecar.downstream.early_stream import EarlyStream
from sidecar.downstream.eventids import EventIds
from sidecar.downstream.guard import error_response
from sidecar.downstream.post import Post
from sidecar.downstream.relay.client import Tracked
from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Emit
from sidecar.http import hop_by_hop
from sidecar.http.client import ClientResponse, Lost, Unreachable
from sidecar.http.exchange import answer_lines
from sidecar.http.hop_by_hop import Fields
from sidecar.http.server import Exchange
from sidecar.http.sse import Event, event_bytes
from sidecar.http.values import EVENTS, JSON, Headers, Lines, Response
from sidecar.mcp import jsonrpc, strict_json
from sidecar.mcp.jsonrpc import Joined, Message, Outgoing, messages_of
from sidecar.mcp.protocol import SERVER_GONE
from sidecar.mcp.tool_call import Outcome
from sidecar.session.from_server import Among
from sidecar.session.session import Session
from sidecar.system.lines import TooLong
from sidecar.text import folded
from sidecar.upstream.failure import Failure
from sidecar.upstream.link import Said
from sidecar.upstream.remote import LOST, MAX_REFUSAL, Remote, media_type, redirected, refusal

Answering: TypeAlias = Exchange | EarlyStream


class Passing:
    """Passes answers of the server at `remote` on; `cookies` says whether its cookies go along.

    `listening` are the clients that hear news on a stream that is open now, `streams` the tasks that write those.
    """

    def __init__(
        self, remote: Remote, emit: Emit, server: str, event_ids: EventIds, *, cookies: bool
    ) -> None:  # fmt: skip
        self.listening: set[Tracked] = set()
        self.streams: set[asyncio.Task[None]] = set()
        self._remote = remote
        self._emit = emit
        self._server = server
        self._event_ids = event_ids
        self._cookies = cookies
        # Bound once: `Headers.once` remembers what a function made by the function, and finds the same object fastest.
        self._lines, self._json_lines = self._make_lines, self._make_json_lines

    def answer(
        self, answer: ClientResponse, post: Post, tracked: Tracked, exchange: Answering
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        """Pass the answer to a POST on, or give back what has to be awaited for that."""
        session = tracked.session
        kind = answer.headers.once(media_type)
        status = answer.status
        if redirected(status) is not None:
            self._fail(exchange, session, post, refusal(status))
        elif status >= 400:
            return self._pass_refusal(answer, post, session, exchange)
        elif not post.requests:
            exchange.send(Response(status, answer.headers.once(self._lines)))
        elif kind == EVENTS:
            return self._pass_events(answer, post, tracked, exchange)
        elif kind == JSON:
            body = answer.whole(self._remote.limit)
            if body is None:
                return self._read_json(answer, post, session, exchange)
            return self._pass_json(body, answer, post, session, exchange)
        else:
            answer.retire()
            self._unreadable(exchange, session, post, f"the MCP server answered status {status} and no message")
        return None

    async def stream(self, answer: ClientResponse, tracked: Tracked, exchange: Answering, *, replayed: bool) -> None:
        """The answer to a GET: a stream of what the server says unasked, or says again where `replayed`."""
        if answer.status >= 300 or media_type(answer.headers) != EVENTS:
            await self.status(answer, exchange)
            return
        exchange.start(answer.status, [("content-type", EVENTS), *self._back(answer)])
        with self._told(tracked, exchange, listens=True):
            async for event in self._remote.events(answer):
                await self._pass_event(event, tracked, exchange, replayed=replayed)
        exchange.end()

    async def status(self, answer: ClientResponse, exchange: Answering) -> None:
        """An answer without a message: its status, and its words where it refuses."""
        is_redirected = redirected(answer.status) is not None
        if is_redirected or answer.status >= 500 or answer.status in (401, 403):
            # Not others: a server need not offer a stream, nor know every session.
            self._remote.tell(failure := refusal(answer.status))
        if is_redirected:
            exchange.send(error_response(502, failure.text, code=SERVER_GONE))
            return
        body = await answer.read(MAX_REFUSAL) if answer.status >= 400 else b""
        found = _readable(body) if isinstance(body, bytes) and media_type(answer.headers) == JSON else None
        message = found[1] if found is not None and "error" in found[0] else b""
        headers = ((("content-type", JSON),) if message else ()) + tuple(self._back(answer))
        exchange.send(Response(answer.status, headers, message))

    def _fail(self, exchange: Answering, session: Session, post: Post, failure: Failure) -> None:
        self._remote.tell(failure)
        send_failure(exchange, session, post, failure)

    def _unreadable(self, exchange: Answering, session: Session, post: Post, text: str) -> None:
        self._fail(exchange, session, post, Failure(text, Outcome.UNKNOWN, "unreadable"))

    def failed(self, problem: Unreachable | Lost) -> Failure:
        """What to tell of a request that got no answer."""
        return self._remote.failed(problem)

    async def _read_json(self, answer: ClientResponse, post: Post, session: Session, exchange: Answering) -> None:
        try:
            body = await answer.read(self._remote.limit)
        except Lost as problem:
            send_failure(exchange, session, post, self._remote.failed(problem))
            return
        work = self._pass_json(body, answer, post, session, exchange)
        if work is not None:
            await work

    def _pass_json(
        self, body: bytes | TooLong, answer: ClientResponse, post: Post, session: Session, exchange: Answering
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        if not body:
            answer.retire()
            self._unreadable(exchange, session, post, "the MCP server answered with nothing")
            return None
        once = _Once()
        session.from_server(body, once.deliver, among=post.sent)
        if not once.is_there:
            return self._wait_for_json(once, answer, post, session, exchange)
        self._send_json(once.message, answer, post, session, exchange)
        return None

    async def _wait_for_json(
        self, once: _Once, answer: ClientResponse, post: Post, session: Session, exchange: Answering
    ) -> None:  # fmt: skip
        self._send_json(await once.awaited(), answer, post, session, exchange)

    def _send_json(
        self, message: Outgoing | None, answer: ClientResponse, post: Post, session: Session, exchange: Answering
    ) -> None:  # fmt: skip
        if message is None:
            answer.retire()
            self._unreadable(exchange, session, post, "the MCP server's answer is no answer to this")
            return
        post.shows(message)
        if post.reply is not None:
            # A part of the batch was refused by us: both parts are one answer.
            message = Joined((*messages_of(post.reply), *messages_of(message)))
        exchange.send(Response(answer.status, answer.headers.once(self._json_lines), message.raw))

    async def _pass_refusal(self, answer: ClientResponse, post: Post, session: Session, exchange: Answering) -> None:
        """An error status: the server's own words go along where they are an error and nothing else."""
        try:
            body = await answer.read(MAX_REFUSAL)
        except Lost:
            body = b""
        kind = media_type(answer.headers)
        message = await _shown(session, body, kind, post.sent) if isinstance(body, bytes) else None
        failure = refusal(answer.status)
        errors = unanswered(session, post, failure)
        if errors or not post.sent:
            self._remote.tell(failure)
        if isinstance(exchange, EarlyStream) and exchange.has_begun:
            _end_with(errors[0].raw if errors else message, exchange)
            return
        types = answer.headers.all("content-type")[:1] if message else []
        headers = (*(("content-type", type_) for type_ in types), *self._back(answer))
        exchange.send(Response(answer.status, headers, message or b""))

    async def _pass_events(self, answer: ClientResponse, post: Post, tracked: Tracked, exchange: Answering) -> None:
        exchange.start(answer.status, [("content-type", EVENTS), *self._back(answer)])
        if post.reply is not None:
            await exchange.write(_event(post.reply))
        broken, why = False, LOST
        with self._told(tracked, exchange, listens=post.listens):
            try:
                async for event in self._remote.events(answer):
                    post.resumable |= isinstance(event, Event) and event.id is not None and bool(tracked.id)
                    await self._pass_event(event, tracked, exchange, post)
            except (Lost, ValueError) as problem:
                broken = True
                kind = problem.kind if isinstance(problem, Lost) else "unreadable"
                why = Failure(f"a stream of the MCP server broke off: {problem}", Outcome.UNKNOWN, kind)
        if not post.resumable:
            # Nobody can come back for the answer: the client must not wait for it.
            lost = unanswered(tracked.session, post, msgspec.structs.replace(LOST, cause=why.cause))
            if lost:
                self._remote.tell(why)
            for message in lost:
                answer.retire()
                await exchange.write(_event(message))
        if broken and post.resumable:
            exchange.abort()
        else:
            exchange.end()

    @contextmanager
    def _told(self, tracked: Tracked, exchange: Answering, *, listens: bool) -> Iterator[None]:
        """While this lasts, a client that listens on this answer is told of changes."""

        def tell(message: Message) -> None:
            if not exchange.gone:
                exchange.write_now(_event(message))

        task = this_task()
        if listens:
            tracked.streams.add(tell)
            self.listening.add(tracked)
            self.streams.add(task)
        try:
            yield
        finally:
            self.streams.discard(task)
            tracked.streams.discard(tell)
            if not tracked.streams:
                self.listening.discard(tracked)

    async def _pass_event(
        self, event: Event | TooLong, tracked: Tracked, exchange: Answering, post: Post | None = None, *,
        replayed: bool = False,
    ) -> None:  # fmt: skip
        """Pass an event on; one that came down the answer to `post` answers nothing else."""
        among = post.sent if post is not None else None
        if isinstance(event, TooLong):
            message = await _judged(tracked.session, event, among, replayed=replayed)
            if message is not None:
                await exchange.write(_event(message))
            return
        if event.data:
            if event.type != "message":
                self._emit(Dropped(self._server, "server", "an event of a kind that carries no message"))
                return
            message = await _judged(tracked.session, event.data.encode(), among, replayed=replayed)
            if message is None:
                return
            if post is not None:
                post.shows(message)
            event = replace(event, data=message.raw.decode())
        if event.id is not None:
            event = replace(event, id=self._event_ids.shown(event.id, tracked.client))
        await exchange.write(event_bytes(event))

    def _back(self, answer: ClientResponse) -> Fields:
        return hop_by_hop.back(answer.headers, cookies=self._cookies)

    def _make_lines(self, headers: Headers) -> Lines:
        return answer_lines(hop_by_hop.back(headers, cookies=self._cookies))

    def _make_json_lines(self, headers: Headers) -> Lines:
        return answer_lines([("content-type", JSON), *hop_by_hop.back(headers, cookies=self._cookies)])


def this_task() -> asyncio.Task[Any]:
    """The task that answers a request."""
    task = asyncio.current_task()
    assert task is not None  # requests are answered in tasks
    return task


def send_failure(exchange: Answering, session: Session, post: Post, failure: Failure) -> None:
    """Answer a POST whose messages get no answer of the server, with what became of it."""
    answers: list[Outgoing] = [*unanswered(session, post, failure)]
    if post.reply is not None:
        answers.append(post.reply)
    if not answers:
        exchange.send(error_response(502, failure.text, code=SERVER_GONE))
        return
    whole = answers[0] if len(answers) == 1 else Joined(tuple(one for each in answers for one in messages_of(each)))
    exchange.send(Response(200, (("content-type", JSON),), whole.raw))


def unanswered(session: Session, post: Post, failure: Failure) -> list[jsonrpc.Response]:
    """The errors that answer what a POST still waits for."""
    found = [session.unanswered(id_, failure) for id_ in post.sent]
    return [one[1] for one in found if one is not None]


class _Once:
    """What becomes of one message of the server, waited for."""

    __slots__ = ("_future", "is_there", "message")

    def __init__(self) -> None:
        self.is_there = False
        self.message: Outgoing | None = None
        self._future: asyncio.Future[None] | None = None

    def deliver(self, message: Outgoing | None) -> None:
        self.is_there, self.message = True, message
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    async def awaited(self) -> Outgoing | None:
        if not self.is_there:
            self._future = asyncio.get_running_loop().create_future()
            await self._future
        return self.message


async def _judged(
    session: Session, said: Said, among: Among = None, *, replayed: bool = False
) -> Outgoing | None:  # fmt: skip
    """What the client may see of a message of the server, or None."""
    once = _Once()
    session.from_server(said, once.deliver, among=among, replayed=replayed)
    return await once.awaited()


async def _shown(session: Session, body: bytes, kind: str, among: Among) -> bytes | None:
    """What the client may see of the body of a refusal: an error in JSON, or words that nobody could take for JSON.

    Whatever type it says, because clients exist that do not look at it.
    """
    found = _readable(body)
    if found is None:
        return None if kind in (JSON, EVENTS) or _LIKE_JSON.match(body) else body
    value, raw = found
    if not _is_message(value):
        return raw
    message = await _judged(session, _message(value, raw), among)
    return message.raw if message is not None else None


def _end_with(body: bytes | None, exchange: EarlyStream) -> None:
    """End a stream for which it is too late for a status: with the server's error or ours, where that is a message."""
    found = _readable(body) if body else None
    if found is not None and _is_message(found[0]):
        exchange.send(Response(200, body=found[1]))
    else:
        exchange.end()


def _message(value: dict[str, Any], raw: bytes) -> Said:
    try:
        return jsonrpc.message(value, raw)
    except InvalidMessage as problem:
        return problem


def _event(message: Outgoing) -> bytes:
    return event_bytes(Event(message.raw.decode()))


def _readable(body: bytes) -> tuple[dict[str, Any], bytes] | None:
    """The JSON object of a body, with its canonical bytes, or None where it is none that everybody reads alike."""
    try:
        value, raw = strict_json.read_value(body)
    except strict_json.NotStrict:
        return None
    return (value, raw) if type(value) is dict else None


def _is_message(value: dict[str, Any]) -> bool:
    return any(folded(key) in ("jsonrpc", "result", "method", "tools") for key in value)


_LIKE_JSON = re.compile(rb"[\0\s\xef\xbb\xbf\xfe\xff]*[{\[]")
"""Text that begins like a message, in whatever encoding."""
