"""HTTP to HTTP: a request of a client becomes one of ours to the server; what comes back is judged and passed on.

Statuses, headers and session ids are the server's own, and so are event ids behind the seal that binds them to their
client; tool calls and lists of tools are different from what they would be without us.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import replace
from functools import partial
from typing import Any, Final

from sidecar.auth.principal import Principal, key_of
from sidecar.downstream.eventids import EventIds
from sidecar.downstream.guard import error_response
from sidecar.downstream.mirrored_arguments import Marked
from sidecar.downstream.post import RESUME, SESSION, Post, is_stateless
from sidecar.downstream.relay.client import OpenSession, Tracked
from sidecar.downstream.relay.request import Passage
from sidecar.downstream.relay.response import Passing, this_task
from sidecar.downstream.sessions import Opened, Sessions, Table, holder
from sidecar.downstream.tool_list_fetch import Learning
from sidecar.events import Dropped, Emit
from sidecar.http import hop_by_hop
from sidecar.http.client import ClientResponse, Lost, PendingRequest, RequestStart, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.server import Exchange
from sidecar.http.values import EVENTS, JSON, Headers, Request
from sidecar.mcp import mirrored_headers
from sidecar.mcp.jsonrpc import Outgoing
from sidecar.mcp.protocol import SERVER_GONE
from sidecar.system import tasks
from sidecar.upstream.remote import Remote

WITHOUT_HEADER: Final = "2025-03-26"
"""The revision of a request that says none (revision 2025-06-18, transports)."""


LIST_SECONDS: Final = 60.0
"""How long a list of tools counts: clients may have heard of a newer one by another replica."""


class Relay:
    """Serves requests that were admitted.

    `name` gives each session that the server opens a name of ours, under which its calls are counted. `also` are the
    names of the client's headers that go along to the server beside those of the protocol, `cookies`
    says whether the server's go along to the client.
    """

    def __init__(
        self, remote: Remote, table: Table, open_session: OpenSession, name: Callable[[], str], emit: Emit, server: str,
        *, also: frozenset[str], cookies: bool,
    ) -> None:  # fmt: skip
        self._remote = remote
        self._sessions: Sessions[Tracked] = Sessions(table, lambda tracked: tracked.session.close())
        self._open = open_session
        self._name = name
        self._emit = emit
        self._server = server
        self._also = also
        self._telling: set[asyncio.Task[None]] = set()
        self._event_ids = EventIds()
        self._marked = Marked(LIST_SECONDS)
        self._learning = Learning(remote, self._marked)
        self.passing = Passing(remote, emit, server, self._event_ids, cookies=cookies)

    def handle(
        self, request: Request, exchange: Exchange, caller: Principal | None
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        """Answer one request, or give back what has to be awaited for that."""
        match request.method:
            case "POST":
                return self._post(request, exchange, caller)
            case "GET":
                return self._get(request, exchange, caller)
            case _:
                return self._delete(request, exchange, caller)

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever listens for it."""
        for tracked in {*self._sessions, *self.passing.listening}:
            tracked.session.tools_changed()

    def end_streams(self) -> None:
        """End the streams on which clients only listen."""
        for task in list(self.passing.streams):
            task.cancel()

    def end_idle(self) -> None:
        """End the sessions that nobody used for long."""
        self._sessions.end_idle()

    async def close(self) -> None:
        """End every session here; the server's own go on."""
        self._sessions.end_all()
        await self._remote.close()

    # POST.

    def _post(
        self, request: Request, exchange: Exchange, caller: Principal | None
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        post = Post(request.headers, marked=self._marked)
        if post.is_stateless and post.wants_marks:
            return self._post_informed(post, request, exchange, caller)
        named = None if post.is_stateless else request.headers.get(SESSION)
        if named is None:
            self._post_alone(post, request, exchange, caller)
            return None
        opened = self._opened(named, caller, exchange)
        if opened is None:
            return None
        session = opened.item.session
        if caller is not session.caller.principal:
            session.caller = replace(session.caller, principal=caller)
        self._sessions.enter(opened)
        Passage(self, post, opened.item, request, exchange, partial(self._sessions.leave, opened)).begin()
        return None

    async def _post_informed(
        self, post: Post, request: Request, exchange: Exchange, caller: Principal | None
    ) -> None:  # fmt: skip
        """A POST whose headers mirror arguments: first the server is asked which."""
        exchange.on_gone(this_task().cancel)
        await self._learning.learn(key_of(caller), self._onward(request.headers), post.revision)
        self._post_alone(post, request, exchange, caller)

    def _post_alone(self, post: Post, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        """A POST outside any session: its ids are its own. It may open one."""
        tracked = Tracked(self._open, caller, post.revision or WITHOUT_HEADER, self._tell)
        tracked.holder = holder(caller, request.peer)

        def over() -> None:
            if not tracked.id:
                tracked.session.close()

        Passage(self, post, tracked, request, exchange, over).begin()

    # What a passage asks for.

    def ask(self, post: Post, tracked: Tracked, request: Request, asking: PendingRequest) -> None:
        """Send what goes on to the server."""
        self._remote.ask(self._head(post, request.headers), post.take().raw, asking, _whose(tracked, request))

    def reserve(self, tracked: Tracked) -> None:
        """Keep room for a session that the server may open. Raises `NoRoom`."""
        self._sessions.reserve(tracked.holder)

    def opened(self, answer: ClientResponse | None, post: Post, tracked: Tracked) -> None:
        """The server answered, or did not, where room was kept: it may have opened a session."""
        self._sessions.release(tracked.holder)
        if answer is not None and not post.is_stateless and answer.status < 300:
            self._note_session(answer.headers.all(SESSION), tracked)

    def _note_session(self, ids: list[str], tracked: Tracked) -> None:
        """The server opened a session: from now on it is known by its id."""
        if len(ids) == 1 and _SESSION_ID.fullmatch(ids[0]):
            tracked.id = ids[0]
            session = tracked.session
            session.caller = replace(session.caller, session=self._name())
            self._sessions.open(tracked.id, tracked, key_of(session.caller.principal), tracked.holder)

    # GET and DELETE.

    async def _get(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        named = request.headers.get(SESSION)
        if named is None:
            await self._listen(request, exchange, Tracked(self._open, caller, "", self._tell))
            return
        opened = self._opened(named, caller, exchange)
        if opened is None:
            return
        with self._sessions.used(opened) as tracked:
            await self._listen(request, exchange, tracked)

    async def _listen(self, request: Request, exchange: Exchange, tracked: Tracked) -> None:
        exchange.on_gone(this_task().cancel)
        fields = self._onward(request.headers)
        if last := request.headers.get(RESUME):
            own = self._event_ids.own(last, tracked.client)
            if own is None:
                exchange.send(
                    error_response(400, "this Last-Event-ID is of no event that you were shown", reason="header")
                )
                return
            fields.append((RESUME, own))
        try:
            answer = await self._remote.send("GET", fields, whose=_whose(tracked, request))
            try:
                await self.passing.stream(answer, tracked, exchange, replayed=bool(last))
            finally:
                answer.abort()
        except Unreachable as problem:
            exchange.send(error_response(502, self._remote.failed(problem).text, code=SERVER_GONE))
        except (Lost, ValueError):
            exchange.abort()

    async def _delete(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        named = request.headers.get(SESSION)
        opened = self._opened(named, caller, exchange) if named is not None else None
        if named is not None and opened is None:
            return
        whose = opened.item if opened is not None else _whoever(request, caller)
        try:
            answer = await self._remote.send("DELETE", self._onward(request.headers), whose=whose)
        except (Unreachable, Lost) as problem:
            exchange.send(error_response(502, self._remote.failed(problem).text, code=SERVER_GONE))
            return
        try:
            await self.passing.status(answer, exchange)
        finally:
            answer.abort()
        if named is not None and (answer.status < 300 or answer.status == 404):
            self._sessions.close(named)

    # To the server, unasked.

    def _tell(self, tracked: Tracked, message: Outgoing) -> None:
        """Answer a request of the server that the client never got."""
        if tracked.id:
            task = tasks.start(self._send_told(tracked, message))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _send_told(self, tracked: Tracked, message: Outgoing) -> None:
        headers = [
            ("content-type", JSON), ("accept", f"{JSON}, {EVENTS}"), (SESSION, tracked.id),
            (mirrored_headers.VERSION, tracked.session.revision), *self._remote.fixed(),
        ]  # fmt: skip
        try:
            (await self._remote.send("POST", headers, message.raw, whose=tracked)).abort()
        except ConnectionError:
            self._emit(Dropped(self._server, "client", "our answer to a request of the server did not reach it"))

    # Parts.

    def _opened(self, named: str, caller: Principal | None, exchange: Exchange) -> Opened[Tracked] | None:
        """The session that a request names; where it is none of this caller's, the client is told."""
        opened = self._sessions.find(named, key_of(caller))
        if opened is None:
            exchange.send(error_response(404, "there is no such session: initialize again", reason="session"))
        return opened

    def _onward(self, headers: Headers) -> Fields:
        return hop_by_hop.onward(headers, self._remote.fixed(), also=self._also)

    def _head(self, post: Post, headers: Headers) -> RequestStart:
        """What the request for a POST begins with: the same while its head is, and the operator's headers are."""
        kept, fixed = headers.once(_Start), self._remote.fixed()
        if kept.head is None or kept.fixed != fixed:
            kept.head, kept.fixed = self._head_with(fixed, headers), fixed
        return kept.head

    def _head_with(self, fixed: Fields, headers: Headers) -> RequestStart:
        fields = [("content-type", JSON), *hop_by_hop.onward(headers, fixed, also=self._also)]
        if is_stateless(headers):
            # Nobody looked whose session that is, and there are none in this revision.
            fields = [(name, value) for name, value in fields if name != SESSION]
        return self._remote.head("POST", fields)


def _whose(tracked: Tracked, request: Request) -> Hashable:
    """Whose connections to the server carry a request: its session's, else those of whoever it came from."""
    return tracked if tracked.id else _whoever(request, tracked.session.caller.principal)


def _whoever(request: Request, caller: Principal | None) -> Hashable:
    return request.connection, key_of(caller)


class _Start:
    """What a request to the server begins with, for one head of a client and the operator's headers `fixed`."""

    __slots__ = ("fixed", "head")

    def __init__(self, _: Headers) -> None:
        self.head: RequestStart | None = None
        self.fixed: Fields = []


_SESSION_ID = re.compile(r"[\x21-\x7e]{1,512}")
