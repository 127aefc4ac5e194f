"""A remote server by the legacy HTTP+SSE transport (revision 2024-11-05) as a connection.

One stream brings everything that the server says, its first event names the address that messages are posted to.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from sidecar.http.client import ClientResponse, Lost, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.sse import Event
from sidecar.http.values import EVENTS, JSON
from sidecar.mcp import protocol
from sidecar.mcp.jsonrpc import Id, Message, Notification, Outgoing, Request, messages_of
from sidecar.mcp.tool_call import Outcome
from sidecar.system import tasks
from sidecar.system.flow import Valve
from sidecar.system.lines import TooLong
from sidecar.system.memory import WEIGHT, Share
from sidecar.upstream.failure import Failure, NotConnected
from sidecar.upstream.link import Full, Received, Unanswered
from sidecar.upstream.remote import CANCELLED, GONE, Remote, failure_of, media_type, redirected, refusal

CONNECT: Final = 10.0
"""Seconds within which the server has to name the address."""
PATIENCE: Final = 1.0
"""Seconds for which a message waits until the server took the one before: it may be another client's."""
MAX_UNDER_WAY: Final = 256
"""Messages on their way to the server before nothing more is read from the client."""


class SseLink:
    """A connection that `connect` opened: the stream `answer`, with `events` of it, and where to post messages."""

    def __init__(
        self, remote: Remote, answer: ClientResponse, events: AsyncGenerator[Event | TooLong], target: str
    ) -> None:
        self._remote = remote
        self._answer = answer
        self._events = events
        self._target = target
        self._unanswered: Unanswered = lambda id_, failure: None
        self._full: Full = lambda now: None
        self._under_way: dict[asyncio.Task[None], Share] = {}
        """What sends each message, and what that holds."""
        self._last: asyncio.Task[None] | None = None
        self._unsent: dict[Id, Request] = {}
        self._valve = Valve()
        self._hearing: asyncio.Task[None] | None = None
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.cause = "lost"

    @classmethod
    async def connect(cls, remote: Remote) -> SseLink:
        """Open the stream. Raises `NotConnected` when the server does not offer it."""
        try:
            async with asyncio.timeout(CONNECT):
                answer = await remote.send("GET", [("accept", EVENTS), *remote.fixed()])
                try:
                    events = remote.events(answer)
                    return cls(remote, answer, events, await _endpoint(remote, answer, events))
                except BaseException:
                    answer.abort()
                    raise
        except TimeoutError:
            text = f"the MCP server named no address within {CONNECT:g} s"
            raise NotConnected(Failure(text, Outcome.NOT_RUN, "timeout")) from None
        except (Unreachable, Lost) as problem:
            raise NotConnected(Failure(f"{GONE}: {problem}", Outcome.NOT_RUN, problem.kind)) from None
        except ValueError as problem:
            raise NotConnected(Failure(str(problem), Outcome.NOT_RUN, "unreadable")) from None

    def begin(self, received: Received, full: Full, unanswered: Unanswered) -> None:
        self._full, self._unanswered = full, unanswered
        self._hearing = tasks.start(self._hear(received))

    def send(self, message: Outgoing) -> None:
        # A batch goes message by message, so that each that does not arrive is answered.
        for one in messages_of(message):
            if isinstance(one, Request):
                self._unsent[one.id] = one
            elif isinstance(one, Notification) and self._give_up(one):
                continue
            before = self._last if self._last in self._under_way else None
            task = self._last = tasks.start(self._post(one, before))
            self._under_way[task] = Share(self._remote.room, WEIGHT * len(one.raw))
            task.add_done_callback(self._posted)
            if len(self._under_way) == MAX_UNDER_WAY:
                self._full(True)

    def _give_up(self, note: Notification) -> bool:
        """True for the cancel of a request that was not sent yet: now it never is."""
        named = protocol.cancelled_id(note) if note.method == protocol.CANCELLED else None
        if named is None or self._unsent.pop(named, None) is None:
            return False
        self._unanswered(named, CANCELLED)
        return True

    def pause(self, stop: bool) -> None:
        self._valve.close(stop)

    async def ended(self) -> int:
        return await asyncio.shield(self._ended)

    async def stop(self, ask: bool) -> int:
        self.close()
        return await self.ended()

    def close(self) -> None:
        for task in (*self._under_way, *((self._hearing,) if self._hearing is not None else ())):
            task.cancel()
        self._answer.abort()
        self._end(0)

    def _end(self, status: int) -> None:
        if not self._ended.done():
            self._ended.set_result(status)

    async def _hear(self, received: Received) -> None:
        end = Failure("the MCP server ended its stream", Outcome.UNKNOWN, "lost")
        try:
            async for event in self._events:
                await self._valve.passed()
                if isinstance(event, TooLong):
                    received(event)
                elif event.data and event.type == "message":
                    received(event.data.encode())
        except Lost as problem:
            end = failure_of(problem)
        except ValueError as problem:
            text = f"the stream of the MCP server cannot be read: {problem}"
            end = Failure(text, Outcome.UNKNOWN, "unreadable")
        finally:
            await self._events.aclose()  # or what came would count for as long as this link is known
        self.cause = end.cause
        self._remote.tell(end)
        self._answer.abort()
        self._end(1)

    async def _post(self, message: Message, before: asyncio.Task[None] | None) -> None:
        """Send one message, in the client's order unless the server holds the one before for long."""
        if before is not None:
            await asyncio.wait([before], timeout=PATIENCE)
        if isinstance(message, Request):
            if self._unsent.get(message.id) is not message:
                return  # it was given up, and another may have its id
            del self._unsent[message.id]
        headers: Fields = [("content-type", JSON), *self._remote.fixed()]
        failure = None
        try:
            answer = await self._remote.send("POST", headers, message.raw, target=self._target)
            answer.abort()
            if answer.status >= 300:
                failure = refusal(answer.status)
        except (Unreachable, Lost) as problem:
            failure = failure_of(problem)
        if failure is not None:
            self._remote.tell(failure)
            if isinstance(message, Request):
                self._unanswered(message.id, failure)

    def _posted(self, task: asyncio.Task[None]) -> None:
        self._under_way.pop(task).hold(0)
        if len(self._under_way) == MAX_UNDER_WAY - 1:
            self._full(False)


async def _endpoint(remote: Remote, answer: ClientResponse, events: AsyncIterator[Event | TooLong]) -> str:
    """Where messages are to be posted. Raises `NotConnected` where the stream does not say it."""
    if answer.status != 200 or media_type(answer.headers) != EVENTS:
        text = redirected(answer.status) or f"the MCP server answered status {answer.status} and no stream"
        cause = "status" if answer.status != 200 else "unreadable"
        raise NotConnected(Failure(text, Outcome.NOT_RUN, cause, answer.status if answer.status != 200 else 0))
    async for event in events:
        if isinstance(event, Event) and event.type == "endpoint" and event.data:
            return remote.within(event.data)
    raise NotConnected(Failure("the MCP server ended its stream before it named an address", Outcome.NOT_RUN, "lost"))
