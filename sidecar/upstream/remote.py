"""A remote MCP server at one URL: requests to it, with the operator's own headers on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Hashable
from typing import Final
from urllib.parse import urljoin

import msgspec

from sidecar.http.client import OURS, ClientResponse, HttpClient, Lost, PendingRequest, RequestStart, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.origin import Origin, parse
from sidecar.http.sse import Event, EventReader
from sidecar.http.values import Headers, field_lines
from sidecar.mcp.tool_call import Outcome
from sidecar.system.flow import Valve
from sidecar.system.intake import Intake
from sidecar.system.lines import TooLong
from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import Sparing
from sidecar.upstream.failure import DEFECT, GIVEN_UP, Failure, Told, untold
from sidecar.upstream.link import LinkReader

MAX_REFUSAL: Final = 64 << 10
"""Bytes of an answer with an error status that are looked at."""
_NOT_RUN: Final = (301, 302, 307, 308, 401, 403, 404, 405, 406, 413, 415, 429)
"""Statuses by which a server says that it did not even begin with a message. Not 400: SDKs answer it with -32602, which
may come after the tool."""

TURN: Final = 16
"""Events of one stream before others have a turn: a server that says much at once must not hold them up."""

GONE: Final = "the MCP server cannot be reached"
_LOST: Final = "the connection to the MCP server was lost before it answered: the call may have run"
LOST: Final = Failure(_LOST, Outcome.UNKNOWN, "lost")
LEFT: Final = Failure(_LOST, Outcome.UNKNOWN, GIVEN_UP)
"""The client left before the answer came, and with it the connection to the server ended."""
DEFECTIVE: Final = Failure(_LOST, Outcome.UNKNOWN, DEFECT)
CANCELLED: Final = Failure("the request was cancelled before it was sent", Outcome.NOT_RUN, GIVEN_UP)

AGAIN: Final = 60.0
"""Seconds before the same trouble is said again."""
MAX_TROUBLES: Final = 100
"""Different ones that are remembered: some hold words of the server's."""


def sparing() -> Sparing:
    """What bounds the lines about sessions that the server forgot."""
    return Sparing(
        "upstream_session_renewed", "sessions were forgotten by the MCP server",
        "sessions are forgotten by the MCP server",
    )  # fmt: skip


class Remote:
    """The server at `target` of `origin`; `fixed` gives the operator's headers, `limit` bounds a message in bytes."""

    def __init__(
        self, origin: Origin, target: str, fixed: Callable[[], Fields], limit: int, room: MemoryBudget | None = None,
        reader: LinkReader | None = None, told: Told = untold, renewals: Sparing | None = None,
    ) -> None:  # fmt: skip
        self.renewals = renewals or sparing()
        """What bounds the lines about sessions that the server forgot, those of all clients together."""
        self.limit = limit
        self.reader = reader or LinkReader()
        self.room = room or MemoryBudget(DEFAULT_BUDGET)
        self.target = target
        self.fixed = fixed
        self._origin = origin
        self._client = HttpClient(origin, room=self.room)
        self._told = told
        self._said: dict[str, float] = {}

    def apart(self) -> Remote:
        """The same server by connections that nobody else uses."""
        return Remote(
            self._origin, self.target, self.fixed, self.limit, self.room, self.reader, self._told, self.renewals
        )  # fmt: skip

    async def send(
        self, method: str, headers: Fields, body: bytes = b"", *, target: str | None = None, whose: Hashable = None
    ) -> ClientResponse:  # fmt: skip
        """Make a request. Raises `Unreachable` when it certainly did not arrive, `Lost` when it may have.

        Connections are shared by requests of one client, which `whose` names.
        """
        return await self._client.send(method, target or self.target, headers, body, whose=whose)

    def head(self, method: str, headers: Fields) -> RequestStart:
        """What requests with these headers begin with. Raises ValueError for what cannot be sent."""
        return self._client.head(method, self.target, field_lines(headers, OURS))

    def ask(self, head: RequestStart, body: bytes, asking: PendingRequest, whose: Hashable) -> None:
        """Make a request without waiting for its answer."""
        self._client.ask(head, body, asking, whose)

    async def events(self, answer: ClientResponse) -> AsyncGenerator[Event | TooLong]:
        """The events of a stream, as they come. Raises `Lost`, and ValueError for what is not UTF-8."""
        reader, count, at_work = EventReader(self.limit), 0, 0
        valve = Valve()

        def give_up() -> int:
            return reader.give_up() + at_work

        intake = Intake(self.room, self.limit, valve.close, give_up)
        try:
            async for chunk in answer.chunks():
                at_work = reader.held + len(chunk)
                intake.holds(at_work)
                for event in reader.feed(chunk):
                    yield event
                    count += 1
                    if count % TURN == 0:
                        await asyncio.sleep(0)
                at_work = 0
                intake.holds(reader.held)
                await valve.passed()
        finally:
            intake.close()

    def within(self, address: str) -> str:
        """The target of an address that the server names. Raises ValueError when that is not on the server itself."""
        here = f"{'https' if self._origin.secure else 'http'}://{self._origin.host_header}{self.target}"
        origin, target = parse(urljoin(here, address))
        if origin != self._origin:
            raise ValueError("the MCP server names an address of another server")
        return target

    def failed(self, problem: Unreachable | Lost) -> Failure:
        """What to tell of a request that got no answer; the operator hears of it too."""
        failure = failure_of(problem)
        self.tell(failure)
        return failure

    def tell(self, failure: Failure) -> None:
        """Let it be known that the server failed, and where that is."""
        self._told(msgspec.structs.replace(failure, text=f"{failure.text} ({self._origin.host_header})"))

    def say(self, trouble: str) -> None:
        """Tell the operator of odd behaviour that fails nothing, and not each time anew."""
        now = time.monotonic()
        if now - self._said.get(trouble, -AGAIN) >= AGAIN:
            if len(self._said) >= MAX_TROUBLES:
                self._said.clear()
            self._said[trouble] = now
            host = self._origin.host_header
            log.error("%s: %s", host, trouble, extra=fields("upstream_odd", peer=host, cause=trouble))

    async def close(self) -> None:
        """Drop every connection."""
        await self._client.close()


def media_type(headers: Headers) -> str:
    """The media type of a body, without parameters; empty where none is said."""
    return (headers.all("content-type") or [""])[0].partition(";")[0].strip().lower()


def failure_of(problem: Unreachable | Lost) -> Failure:
    """What became of a request that got no answer."""
    if isinstance(problem, Unreachable):
        return Failure(f"{GONE}: {problem}", Outcome.NOT_RUN, problem.kind)
    text = f"the MCP server gave no usable answer: {problem}; the call may have run"
    return Failure(text, Outcome.UNKNOWN, problem.kind)


def refusal(status: int) -> Failure:
    """What an answer with an error status means, whatever stands in it."""
    text = redirected(status) or f"the MCP server answered status {status}"
    if status == 401:
        text += ": it wants credentials, give them with --header"
    outcome = Outcome.NOT_RUN if status in _NOT_RUN else Outcome.UNKNOWN
    return Failure(text, outcome, "status", status)


def redirected(status: int) -> str | None:
    """What to say of a redirect: we do not follow, because the server may be anybody's. None for other statuses."""
    if not 300 <= status < 400:
        return None
    return f"the MCP server redirects (status {status}): give --upstream the address that it redirects to"
