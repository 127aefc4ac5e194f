"""The legacy HTTP+SSE transport (revision 2024-11-05) served by ourselves.

A stream that a client opens is its session: the first event names the address to post messages to, all else that comes
down is what the server says. Each has a server of its own. That address is a whole path, with whatever prefix the path
of the stream has: not every client resolves a relative one.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

from sidecar.auth.principal import Principal, key_of
from sidecar.downstream.guard import error_response
from sidecar.downstream.hosted.per_session import Ending, HostedSession, OpenLink, OpenSession, begun
from sidecar.downstream.hosted.replay_buffer import Unread
from sidecar.downstream.hosted.writer import write
from sidecar.downstream.post import Post
from sidecar.downstream.sessions import NoRoom, Sessions, Table
from sidecar.errors import SidecarError
from sidecar.http.server import Exchange
from sidecar.http.values import Request, Response
from sidecar.mcp.protocol import SERVER_GONE
from sidecar.system import tasks
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget


def messages_beside(stream: str) -> str:
    """The path to post messages to, in the same folder as that of the stream: `/messages` beside `/sse`."""
    return f"{stream.rpartition('/')[0]}/messages"


def methods(stream: str) -> dict[str, tuple[str, ...]]:
    """The paths that are served, and the methods of each."""
    return {stream: ("GET",), messages_beside(stream): ("POST",)}


class Legacy:
    """Serves requests that were admitted, with streams at the path `stream`; `open_link` starts a server."""

    def __init__(
        self, open_link: OpenLink, table: Table, open_session: OpenSession, stream: str, unread: Unread | None = None
    ) -> None:  # fmt: skip
        self._open_link = open_link
        self._stream_path, self._messages_path = stream, messages_beside(stream)
        self._unread = unread or Unread(MemoryBudget(DEFAULT_BUDGET))
        self._ending = Ending()
        self._sessions: Sessions[HostedSession] = Sessions(table, self._ending.end)
        self._open_session = open_session

    async def handle(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        """Answer one request."""
        if request.path == self._stream_path:
            await self._stream(request.peer, exchange, caller)
        else:
            await self._message(request, exchange, caller)

    def tools_changed(self) -> None:
        """Another policy is in force: tell whoever listens for it."""
        for hosted in self._sessions:
            hosted.session.tools_changed()

    def end_streams(self) -> None:
        """Nothing: here every answer comes down a stream, and each session is one."""

    def end_idle(self) -> None:
        """Nothing: a session here ends with its stream."""

    async def close(self) -> None:
        """End every session and every server."""
        self._sessions.end_all()
        await self._ending.finish()

    async def _stream(self, peer: str, exchange: Exchange, caller: Principal | None) -> None:
        hosted = HostedSession(self._open_session, caller, peer, self._unread)
        try:
            opened = await begun(hosted, self._sessions, self._open_link)
        except SidecarError as problem:
            reason = "full" if isinstance(problem, NoRoom) else ""
            exchange.send(error_response(503, str(problem), code=SERVER_GONE, reason=reason))
            return
        watching = tasks.start(self._watch(hosted))
        try:
            with self._sessions.used(opened):
                await write(hosted.news, exchange, (), endpoint=f"{self._messages_path}?session_id={hosted.id}")
        finally:
            watching.cancel()
            self._sessions.close(hosted.id)

    async def _message(self, request: Request, exchange: Exchange, caller: Principal | None) -> None:
        named = parse_qs(request.query).get("session_id", [])
        opened = self._sessions.find(named[0], key_of(caller)) if len(named) == 1 else None
        if opened is None:
            exchange.send(_unknown_session())
            return
        with self._sessions.used(opened) as hosted:
            await hosted.room()
            if self._sessions.find(opened.id, opened.principal) is not opened:
                exchange.send(_unknown_session())
                return
            hosted.session.caller = replace(hosted.session.caller, principal=caller)
            # This transport has no headers that mirror a message: none of them may say anything else.
            hosted.session.from_client(request.take(), hosted.route(request.headers), Post(request.headers).look)
            # Who may send the next message before this one is read could send any number.
            await hosted.session.taken()
            exchange.send(Response(202))

    async def _watch(self, hosted: HostedSession) -> None:
        """The stream ends when the server does."""
        await hosted.ended()
        hosted.news.end()


def _unknown_session() -> Response:
    return error_response(404, "there is no such session: open a stream first", reason="session")
