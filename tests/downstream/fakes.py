"""What serves clients, without sockets: an outlet that keeps what is written, and a server behind a link."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.events import Dropped
from sidecar.events import Event as EventOf
from sidecar.http.exchange import Exchange
from sidecar.http.sse import Event, EventReader
from sidecar.http.values import Headers, Request, TurnedAway
from sidecar.mcp import strict_json
from sidecar.mcp.jsonrpc import Message, Outgoing
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.upstream.link import Full, Received, Unanswered
from tests.session.fakes import SlowGate


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test of coroutines, and not for ever."""

    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work

    asyncio.run(bounded())


async def turns(count: int = 10) -> None:
    """Let everybody do what they can do now."""
    for _ in range(count):
        await asyncio.sleep(0)


def line(**members: Any) -> bytes:
    """A message."""
    return strict_json.encode({"jsonrpc": "2.0", **members})


def post(headers: dict[str, str] | None = None, **members: Any) -> Request:
    """A POST of one message."""
    return sent(line(**members), headers)


def sent(body: bytes, headers: dict[str, str] | None = None) -> Request:
    """A POST of these bytes."""
    return Request("POST", "/mcp", "", Headers((headers or {}).items()), body, 1)


class Client:
    """A client's end of one exchange: what was written to it, and it can leave."""

    def __init__(self) -> None:
        self.full = False
        self.head = b""
        self.body = b""
        self.is_complete = False
        self.refused: list[str] = []
        self.exchange = Exchange(self, head_only=False, version_10=True)

    def write(self, head: bytes, body: bytes = b"") -> None:
        if not self.head:
            self.head = head
        else:
            self.body += head
        self.body += body

    async def room(self) -> None:
        """Nothing to wait for: it keeps up."""

    def answered(self, *, closes: bool) -> None:
        self.is_complete = True

    def let_go(self, exchange: Exchange) -> None:
        """Nothing is counted here."""

    def turned_away(self, refusal: TurnedAway) -> None:
        self.refused.append(refusal.reason)

    def abort(self) -> None:
        self.is_complete = True

    def soon(self, callback: Callable[[], object]) -> None:
        asyncio.get_running_loop().call_soon(callback)

    def is_last(self) -> bool:
        return False

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        raise error

    def leave(self) -> None:
        self.exchange.client_left()

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    def header(self, name: str) -> str | None:
        fields = dict(field.split(": ", 1) for field in self.head.decode().split("\r\n")[1:] if field)
        return fields.get(name)

    @property
    def json(self) -> Any:
        assert self.is_complete
        return json.loads(self.body)

    @property
    def events(self) -> list[Event]:
        return [event for event in EventReader(1 << 20).feed(self.body) if isinstance(event, Event)]

    @property
    def messages(self) -> list[Any]:
        """The messages in its events."""
        return [json.loads(event.data) for event in self.events if event.data and event.type == "message"]


class FakeLink:
    """A server that says what the test says and keeps what it gets."""

    cause = "ended"

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.paused: list[bool] = []
        self.is_closed = False
        self.full: Full = lambda now: None
        self.say: Received = lambda message: None
        self.unanswered: Unanswered = lambda id_, failure: None
        self._over = asyncio.Event()

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        self.say, self.full, self.unanswered = received, full, unanswered

    def send(self, message: Outgoing) -> None:
        self.sent.append(message.raw)

    def pause(self, stop: bool) -> None:
        self.paused.append(stop)

    async def ended(self) -> int:
        await self._over.wait()
        return 0

    async def stop(self, ask: bool) -> int:
        self.die()
        return 0

    def close(self) -> None:
        self.is_closed = True
        self.die()

    def die(self) -> None:
        self._over.set()

    @property
    def got(self) -> list[Any]:
        return [json.loads(message) for message in self.sent]


class Sessions:
    """Makes sessions with one gate, which decides when the test says so."""

    def __init__(self) -> None:
        self.gate = SlowGate()
        self.events: list[EventOf] = []

    def __call__(
        self, principal: Principal | None, route: Route, announce: Callable[[Message], None], revision: str
    ) -> Session:  # fmt: skip
        return Session(
            server="stub", caller=Caller("s", principal=principal), gate=self.gate, emit=self.events.append,
            route=route, announce=announce, revision=revision,
        )  # fmt: skip

    @property
    def dropped(self) -> list[str]:
        """Why messages went nowhere."""
        return [event.reason for event in self.events if isinstance(event, Dropped)]


class Opener:
    """Starts a `FakeLink` for whoever asks, when it may."""

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.asked = 0
        self.may = asyncio.Event()
        self.may.set()

    async def __call__(self) -> FakeLink:
        self.asked += 1
        await self.may.wait()
        link = FakeLink()
        self.links.append(link)
        return link
