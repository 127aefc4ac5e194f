"""HTTP to HTTP: a request of a client becomes one of ours to the server; what comes back is judged and passed on.

Statuses, headers, session ids and event ids are the server's own; only tool calls and lists of tools are different from
what they would be without us.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from sidecar import endtoend, mirrored, tasks
from sidecar.downstream.guard import error_response
from sidecar.downstream.passing import OpenSession, Passing, Tracked, send_error, this_task, unanswered
from sidecar.downstream.post import RESUME, SESSION, Post, first_word
from sidecar.downstream.sessions import Sessions, Table
from sidecar.endtoend import Fields
from sidecar.errors import SidecarError
from sidecar.events import Dropped, Emit
from sidecar.http.client import Lost, Unreachable
from sidecar.http.server import Exchange
from sidecar.http.values import EVENTS, JSON, Headers, Request, Response
from sidecar.principal import Principal, key_of
from sidecar.protocol import SERVER_GONE, Outcome
from sidecar.upstream.remote import GONE, LOST, Remote

WITHOUT_HEADER: Final = "2025-03-26"
"""The revision of a request that says none (revision 2025-06-18, transports)."""


class Relay:
    """Serves requests that were admitted; `credentials` says whether the client's go along to the server."""

    def __init__(
        self, remote: Remote, table: Table, open_session: OpenSession, emit: Emit, server: str, *,
        credentials: bool,
    ) -> None:  # fmt: skip
        self._remote = remote
        self._sessions: Sessions[Tracked] = Sessions(table, lambda tracked: tracked.session.close())
        self._open = open_session
        self._emit = emit
        self._server = server
        self._credentials = credentials
        self._telling: set[asyncio.Task[None]] = set()
        self._passing = Passing(remote, emit, server, cookies=credentials)

    async def handle(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        """Answer one request."""
        match request.method:
            case "POST":
                await self._post(request, exchange, caller)
            case "GET":
                await self._get(request, exchange, caller)
            case _:
                await self._delete(request, exchange, caller)

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever listens for it."""
        for tracked in {*self._sessions, *self._passing.listening}:
            tracked.session.tools_changed()

    def end_streams(self) -> None:
        """End the streams on which clients only listen."""
        for task in list(self._passing.streams):
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
            exchange.on_gone(this_task().cancel)
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
            exchange.on_gone(this_task().cancel)
        try:
            await self._ask(post, tracked, request, exchange)
        finally:
            if not post.resumable:
                # Nobody can come back for what has not been answered.
                unanswered(session, post, LOST)

    async def _ask(self, post: Post, tracked: Tracked, request: Request, exchange: Exchange) -> None:
        assert post.onward is not None  # otherwise there is nothing to ask
        try:
            with self._sessions.opening() if post.hello else nullcontext():
                answer = await self._remote.send("POST", self._onward_of(post, request.headers), post.onward)
                if post.hello and not post.is_stateless and answer.status < 300:
                    self._note_session(answer.headers.all(SESSION), tracked)
        except SidecarError as problem:
            send_error(exchange, tracked.session, post, str(problem), Outcome.ERROR)
            return
        except Unreachable:
            send_error(exchange, tracked.session, post, GONE, Outcome.ERROR)
            return
        except Lost:
            send_error(exchange, tracked.session, post, LOST)
            return
        try:
            await self._passing.answer(answer, post, tracked, exchange)
        finally:
            answer.abort()

    def _note_session(self, ids: list[str], tracked: Tracked) -> None:
        """The server opened a session: from now on it is known by its id."""
        if len(ids) == 1 and _SESSION_ID.fullmatch(ids[0]):
            tracked.id = ids[0]
            principal = tracked.session.caller.principal
            self._sessions.open(tracked.id, tracked, key_of(principal))

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
        exchange.on_gone(this_task().cancel)
        replayed = request.headers.get(RESUME) is not None
        try:
            answer = await self._remote.send("GET", self._onward(request.headers))
            try:
                await self._passing.stream(answer, tracked, exchange, replayed=replayed)
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
            await self._passing.status(answer, exchange)
        finally:
            answer.abort()
        if named is not None and (answer.status < 300 or answer.status == 404):
            self._sessions.close(named)

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


def _unknown_session() -> Response:
    return error_response(404, "there is no such session: initialize again")


_SESSION_ID = re.compile(r"[\x21-\x7e]{1,512}")
