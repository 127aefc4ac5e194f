"""Links to remote servers, with a server that answers each request with the next answer of the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

from sidecar.errors import InvalidMessage
from sidecar.http.client import Lost, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.sse import Event, EventReader, event_bytes
from sidecar.http.values import Headers
from sidecar.mcp.jsonrpc import Batch, Id
from sidecar.mcp.tool_call import Outcome
from sidecar.system.lines import TooLong
from sidecar.system.memory import MemoryBudget
from sidecar.system.sparing import Sparing
from sidecar.upstream.failure import Failure
from sidecar.upstream.link import Link, LinkReader, Said, understood
from sidecar.upstream.remote import Remote, failure_of, sparing
from tests.downstream.fakes import line


class FakeAnswer:
    """One answer; `breaks` when it breaks off behind its pieces."""

    def __init__(self, status: int = 202, kind: str = "", *pieces: bytes, breaks: bool = False, **headers: str) -> None:
        named = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.status = status
        self.headers = Headers([*named, *([("content-type", kind)] if kind else [])])
        self.is_aborted = self.is_retired = False
        self._pieces = list(pieces)
        self._breaks = breaks

    async def read(self, limit: int) -> bytes | TooLong:
        return b"".join([piece async for piece in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        while self._pieces:
            yield self._pieces.pop(0)
        if self._breaks:
            raise Lost("broken")

    def abort(self) -> None:
        self.is_aborted = True

    def retire(self) -> None:
        self.is_retired = True


class HeldAnswer(FakeAnswer):
    """A stream of events that says `last` once it is let go on, and ends."""

    def __init__(self, first: list[Event], last: list[Event]) -> None:
        super().__init__(200, "text/event-stream", *map(event_bytes, first))
        self.go_on = asyncio.Event()
        self._last = last

    async def chunks(self) -> AsyncIterator[bytes]:
        async for piece in super().chunks():
            yield piece
        await self.go_on.wait()
        for event in self._last:
            yield event_bytes(event)


def as_json(status: int = 200, **members: Any) -> FakeAnswer:
    """An answer with one message."""
    return FakeAnswer(status, "application/json", line(**members))


def as_events(*events: Event, breaks: bool = False) -> FakeAnswer:
    """An answer that is a stream of events."""
    return FakeAnswer(200, "text/event-stream", *map(event_bytes, events), breaks=breaks)


def event(named: str | None = None, /, **members: Any) -> Event:
    """An event with a message."""
    return Event(line(**members).decode(), id=named)


@dataclass
class Sent:
    """One request that the server got."""

    method: str
    headers: dict[str, str]
    body: Any
    target: str | None


@dataclass
class FakeRemote:
    """Answers each request with the next of `answers`, and then with 202; for those of a method in `held` it waits."""

    answers: list[FakeAnswer | Exception] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    own: Fields = field(default_factory=list)
    limit: int = 1 << 20
    said: list[str] = field(default_factory=list)
    room: MemoryBudget = field(default_factory=lambda: MemoryBudget(1 << 28))
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    reader: LinkReader = field(default_factory=LinkReader)
    renewals: Sparing = field(default_factory=sparing)

    def hold(self, method: str) -> asyncio.Event:
        """Answer requests of this method once the event is set."""
        return self.held.setdefault(method, asyncio.Event())

    async def holding(self, body: bytes) -> None:
        """Wait as long as this message is held."""
        method = json.loads(body).get("method") if body else None
        if method in self.held:
            await self.held[method].wait()

    async def send(self, method: str, headers: Fields, body: bytes = b"", *, target: str | None = None) -> FakeAnswer:
        self.sent.append(Sent(method, dict(headers), json.loads(body) if body else None, target))
        answer = self.answers.pop(0) if self.answers else FakeAnswer()
        await self.holding(body)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def fixed(self) -> Fields:
        return self.own

    async def events(self, answer: FakeAnswer) -> AsyncGenerator[Event | TooLong]:
        reader = EventReader(self.limit)
        async for chunk in answer.chunks():
            for event in reader.feed(chunk):
                yield event

    def failed(self, problem: Unreachable | Lost) -> Failure:
        return failure_of(problem)

    def tell(self, failure: Failure) -> None:
        self.said.append(failure.text)

    def say(self, trouble: str) -> None:
        self.said.append(trouble)

    def within(self, address: str) -> str:
        return address

    @property
    def remote(self) -> Remote:
        return cast("Remote", self)

    @property
    def posted(self) -> list[str]:
        """The methods of the messages that came."""
        return [one.body["method"] for one in self.sent if one.body]


class Heard:
    """What a link told."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.unanswered: list[tuple[Id, Failure]] = []
        self.full: list[bool] = []

    def begin(self, link: Link) -> None:
        link.begin(self._received, self.full.append, lambda *told: self.unanswered.append(told))

    def _received(self, said: Said) -> None:
        message = understood(said)
        assert not isinstance(message, Batch)
        self.messages.append(message if isinstance(message, InvalidMessage) else json.loads(message.raw))

    @property
    def outcomes(self) -> list[tuple[Id, Outcome]]:
        return [(id_, failure.outcome) for id_, failure in self.unanswered]
