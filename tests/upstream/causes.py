"""Calls on their way to a real server over a real link, and what is told of those that get no answer."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sidecar.auth.caller import Caller
from sidecar.downstream.relay.client import Tracked
from sidecar.downstream.relay.relay import Relay
from sidecar.downstream.sessions import Table
from sidecar.enforce.verdict import Forward
from sidecar.events import Event, UpstreamFailed
from sidecar.http.client import HttpClient
from sidecar.http.origin import parse
from sidecar.mcp.tool_call import Outcome
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.system.guardian import Guardian
from sidecar.upstream.connect import telling
from sidecar.upstream.failure import NotConnected, teller
from sidecar.upstream.http_sse import SseLink
from sidecar.upstream.link import Link
from sidecar.upstream.remote import Remote
from sidecar.upstream.stdio import ChildServer
from sidecar.upstream.streamable_http import HttpLink
from tests.downstream.fakes import Client, post
from tests.session.fakes import SlowGate, encoded

SECONDS = 10.0
CALL = {"id": 1, "method": "tools/call", "params": {"name": "quick", "arguments": {}}}
WAYS = ("bridge", "relay")


class SettlingGate(SlowGate):
    """Allows what is asked of the tool `quick`, and tells when a call is settled."""

    def __init__(self) -> None:
        super().__init__()
        self.was_settled = asyncio.Event()

    def settle(
        self, forward: Forward, outcome: Outcome, done: Callable[[], None] = lambda: None, cause: str = "",
        status: int = 0,
    ) -> None:  # fmt: skip
        super().settle(forward, outcome, done, cause, status)
        self.was_settled.set()


class Way:
    """A way to a server, with what came of it."""

    def __init__(self) -> None:
        self.gate = SettlingGate()
        self.events: list[Event] = []
        self.told = teller("stub", self.events.append)
        self.client: list[bytes] = []
        self.gone = Client()
        """The client of a relayed call."""
        self.remotes: list[Remote] = []

    def session(self, route: Route) -> Session:
        return Session(server="stub", caller=Caller("s"), gate=self.gate, emit=self.events.append, route=route)

    def remote(self, url: str) -> Remote:
        origin, target = parse(url)
        remote = Remote(origin, target, list, 1 << 20, told=self.told)
        remote._client = HttpClient(origin, connect_seconds=0.3)
        self.remotes.append(remote)
        return remote

    def bridged(self, link: Link) -> Session:
        """A session with the server behind a link."""
        session = self.session(Route(lambda message: self.client.append(message.raw), link.send))
        link.begin(session.from_server, lambda now: None, session.no_answer)
        return session

    def relayed(self, remote: Remote) -> Relay:
        def open_session(tracked: Tracked, *_: object) -> Session:
            return self.session(tracked.route)

        table = Table(asyncio.get_running_loop().time, lambda count: None)
        return Relay(
            remote, table, open_session, lambda: "s", self.events.append, "stub", also=frozenset(), cookies=False
        )

    async def call(self, way: str, url: str) -> None:
        """Have a call made, and wait until it is settled."""
        remote = self.remote(url)
        if way == "bridge":
            link = HttpLink(remote)
            self.bridged(link).from_client(encoded(**CALL))
        else:
            self.relayed(remote).handle(post(None, **CALL), self.gone.exchange, None)
        await self.settled()
        await self.close()

    async def close(self) -> None:
        """Drop every connection."""
        for remote in self.remotes:
            await remote.close()

    async def sse(self, url: str) -> SseLink | None:
        """A connection by the legacy transport; None where none can be made."""
        remote = self.remote(url)

        async def connect() -> Link:
            return await SseLink.connect(remote)

        try:
            link = await telling(connect, self.told)()
        except NotConnected:
            await self.close()
            return None
        assert isinstance(link, SseLink)
        return link

    async def child(self, script: str) -> ChildServer:
        """A program as server."""
        return await ChildServer.start(["python3", "-S", "-E", "-c", script], 1 << 20, Guardian(), told=self.told)

    async def settled(self) -> None:
        async with asyncio.timeout(SECONDS):
            await self.gate.was_settled.wait()
        await asyncio.sleep(0)

    @property
    def failures(self) -> list[UpstreamFailed]:
        """What was told of the server."""
        return [event for event in self.events if isinstance(event, UpstreamFailed)]

    @property
    def error(self) -> object:
        """What the client of a bridged call was told."""
        return json.loads(self.client[-1])["error"]


@contextmanager
def silent() -> Iterator[str]:
    """A server that takes no connection, because too many wait already."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
