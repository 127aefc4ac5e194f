"""Serving one client on standard input and output."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable
from functools import partial
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.downstream.stdio import StdioClient
from sidecar.enforce.gate import Gate
from sidecar.errors import StartError
from sidecar.events import StopReason
from sidecar.mcp.jsonrpc import Outgoing
from sidecar.policy.bundle import Bundle
from sidecar.serve.ending import End
from sidecar.serve.runtime import Runtime
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.system.flow import Pause
from sidecar.system.lines import TooLong
from sidecar.system.memory import WEIGHT, MemoryBudget, Share
from sidecar.upstream.failure import GIVEN_UP
from sidecar.upstream.link import Link

JUDGE_SECONDS: Final = 0.3
"""How long calls that are being judged when the client goes may still take."""
ANSWER_SECONDS: Final = 10.0
"""How long calls that the server has when the client's input ends may still take, while the client reads."""
LOOK_SECONDS: Final = 0.02
COUNTED: Final = 16 << 10
"""Bytes of a message from which on it is counted: so many may be judged at once that smaller ones do not matter."""
FLUSH_SECONDS: Final = 0.5
"""How long what waits for the client may take to be written at the end."""


async def serve(runtime: Runtime, server: Link, room: MemoryBudget, asked_to_stop: asyncio.Event) -> End:
    """Pass messages until the client goes, the server ends, or we are asked to stop; then end all in good order."""
    settings, gate, loop = runtime.settings, runtime.gate, asyncio.get_running_loop()
    runtime.reader.room = room
    client_gone = asyncio.Event()

    # Whoever cannot keep up stops the other, so nothing is heaped up here; our refusals fill the client's pipe too.
    # So does a large message while it is read: what comes after it on its side stays in the pipe.
    unread = Share(room)

    def client_is_full(now: bool) -> None:
        unread.hold(client.unread)
        server_waits.set("client", now)
        client_waits.set("client", now)

    client = StdioClient(settings.max_message, full=client_is_full, gone=client_gone.set)
    client_waits, server_waits = Pause(client.pause), Pause(server.pause)
    route = Route(lambda message: client.send(message.raw), server.send)
    session = Session(
        server=settings.server, caller=Caller(runtime.instance), gate=gate, emit=runtime.emit, route=route,
        reader=runtime.reader,
    )  # fmt: skip
    session.holds(partial(client_waits.set, "reading"), partial(server_waits.set, "reading"))
    inbox = Inbox(session, route, room, partial(client_waits.set, "room"))
    server.begin(session.from_server, partial(client_waits.set, "server"), session.no_answer)
    await client.open(sys.stdin.buffer, sys.stdout.buffer, inbox.take)
    runtime.ready()
    watching = runtime.watch(session.tools_changed)
    ended = asyncio.create_task(server.ended())
    waits = [ended, *(asyncio.create_task(event.wait()) for event in (asked_to_stop, client_gone))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    if client_gone.is_set() and not asked_to_stop.is_set():
        # What came before the end of the input is judged, and forwarded or answered.
        await _caught_up(session, asked_to_stop)
        await _judged(gate)
        # Whoever pipes requests in and reads on waits for what comes of them.
        until = loop.time() + ANSWER_SECONDS
        while client.reads and session.is_waiting and not any(one.done() for one in waits[:2]) and loop.time() < until:
            await asyncio.wait(waits[:2], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    gate.end_holds()
    why: StopReason = "signal" if asked_to_stop.is_set() else "client_left" if client_gone.is_set() else "server_ended"
    cause = server.cause if ended.done() else GIVEN_UP
    status = ended.result() if ended.done() else await server.stop(ask=asked_to_stop.is_set())
    for task in (*waits, watching):
        task.cancel()
    if not asked_to_stop.is_set():
        # A server that ended at once must not leave unanswered what came before we looked.
        client_waits.set("server", now=False)
        await client.catch_up(JUDGE_SECONDS)
        await _caught_up(session, asked_to_stop)
        await _judged(gate)
    session.server_ended(cause)
    await _judged(gate)  # lists that are being filtered, refusals that are being made
    await client.close(FLUSH_SECONDS)
    return End(status, why)


class Inbox:
    """Counts what a client asks while it is judged, and stops the client while there is no room for more.

    `stop` is called with True when nothing more is to be read of the client, and with False when it is again.
    """

    def __init__(self, session: Session, route: Route, room: MemoryBudget, stop: Callable[[bool], None]) -> None:
        self._session = session
        self._route = route
        self._room = room
        self._stop = stop
        self._is_short = False

    def take(self, line: bytes | TooLong) -> None:
        """Take one message."""
        if isinstance(line, TooLong) or len(line) <= COUNTED:
            self._session.from_client(line)
            return
        share = Share(self._room, WEIGHT * len(line))
        self._session.from_client(line, _counted(self._route, share))
        if not self._room.make(0) and not self._is_short:
            self._is_short = True
            self._room.waiting[self._woken] = None
            self._stop(True)

    def _woken(self) -> None:
        if self._is_short and self._room.has(0):
            self._is_short = False
            self._room.waiting.pop(self._woken, None)
            self._stop(False)


def _counted(route: Route, share: Share) -> Route:
    """The same way, on which nothing is held any more once it is known what becomes of a message."""

    def to_client(message: Outgoing) -> None:
        share.hold(0)
        route.to_client(message)

    def to_server(message: Outgoing) -> None:
        route.to_server(message)
        share.hold(0)

    return Route(to_client, to_server, dropped=lambda: share.hold(0), tell=route.to_client)


async def _caught_up(session: Session, asked_to_stop: asyncio.Event) -> None:
    """Wait until everything that came is read and shown, unless we are asked to stop."""
    waits = [asyncio.create_task(session.caught_up()), asyncio.create_task(asked_to_stop.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waits:
        task.cancel()


async def _judged(gate: Gate) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(JUDGE_SECONDS):
            await gate.finish()


def check_scopes(bundle: Bundle) -> None:
    """Whether the policy can be served here. Raises `StartError`."""
    if "principal" in bundle.terms.scopes:
        raise StartError(
            "scope: principal needs callers that authenticate themselves: write session or global on stdio"
        )
