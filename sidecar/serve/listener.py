"""Serving many clients over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import resource
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Protocol

from sidecar.auth.authenticator import Authenticator, authenticator
from sidecar.auth.caller import Caller
from sidecar.auth.fetch import MAX_BYTES
from sidecar.auth.hosts import Hosts
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NotYet
from sidecar.downstream.guard import Guard, error_response
from sidecar.downstream.hosted.multiplexed import Shared
from sidecar.downstream.hosted.per_session import Hosted
from sidecar.downstream.hosted.replay_buffer import Unread
from sidecar.downstream.http_sse import Legacy
from sidecar.downstream.http_sse import methods as legacy_methods
from sidecar.downstream.relay.client import Tracked
from sidecar.downstream.relay.relay import Relay
from sidecar.downstream.sessions import Table
from sidecar.errors import SidecarError, StartError
from sidecar.events import SessionsOpen
from sidecar.http.client import HttpClient
from sidecar.http.hop_by_hop import CREDENTIALS
from sidecar.http.origin import parse
from sidecar.http.server import CONNECTIONS, Admission, Exchange, HttpServer, Limits
from sidecar.http.values import Headers, Repeated, Request, Response
from sidecar.mcp.jsonrpc import Message
from sidecar.policy.bundle import Bundle
from sidecar.serve.ending import End
from sidecar.serve.refusals import refusals
from sidecar.serve.runtime import Runtime
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.settings import Jwt, Listen
from sidecar.system import defects, tasks
from sidecar.system.memory import MemoryBudget, memory, room_for
from sidecar.system.operator_log import fields, log, state
from sidecar.upstream.connect import connector, remote, telling
from sidecar.upstream.failure import teller

METHODS: Final = ("POST", "GET", "DELETE")
"""Those of the endpoint of streamable HTTP."""
SWEEP: Final = 5.0
"""Seconds between two looks for sessions that nobody uses."""
DRAIN: Final = 20.0
"""Seconds that calls in flight have to finish when we are asked to stop; Kubernetes allows 30 in all."""


class Backend(Protocol):
    """Whoever answers requests that were admitted."""

    def handle(
        self, request: Request, exchange: Exchange, caller: Principal | None
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        """Answer one request, or give back what has to be awaited for that."""

    def tools_changed(self) -> None:
        """Tell clients that listen for it that the list of tools changed."""

    def end_idle(self) -> None:
        """End the sessions that nobody used for long."""

    def end_streams(self) -> None:
        """End what would last for ever: streams on which clients only listen."""

    async def close(self) -> None:
        """End every session and every server."""


class Front:
    """What a request meets first: `guard` is there once it is known which port we listen on."""

    guard: Guard
    backend: Backend

    def admit(self, method: str, target: str, headers: Headers) -> Admission:
        """The refusal of a request by its head, or None; or what has to be awaited for that."""
        return self.guard.admit(method, target, headers)

    def handle(self, request: Request, exchange: Exchange) -> Coroutine[Any, Any, None] | None:
        """Answer one request, or give back what has to be awaited for that."""
        caller = self.guard.caller_at_once(request.headers)
        if isinstance(caller, NotYet):
            return self._wait(request, exchange)
        return self._go_on(request, exchange, caller)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """A defect of ours ends one request and no other: there are other agents here."""
        if isinstance(error, Repeated):
            exchange.send(error_response(400, f"the header {error.name} stands twice", reason="header"))
            return
        defects.tell("one request is refused", error)
        if not exchange.gone:
            exchange.abort()

    async def _wait(self, request: Request, exchange: Exchange) -> None:
        work = self._go_on(request, exchange, await self.guard.caller(request.headers))
        if work is not None:
            await work

    def _go_on(
        self, request: Request, exchange: Exchange, caller: Principal | None | Response
    ) -> Coroutine[Any, Any, None] | None:  # fmt: skip
        if isinstance(caller, Response):
            exchange.send(caller)
            return None
        return self.backend.handle(request, exchange, caller)


async def serve(runtime: Runtime, who: Authenticator, asked_to_stop: asyncio.Event) -> End:
    """Serve clients until we are asked to stop, then let calls in flight finish."""
    listen = runtime.settings.listen
    assert listen is not None  # otherwise the client is on stdio
    front = Front()
    room = runtime.reader.room = _room(runtime.settings.max_message)
    limits = Limits(connections=_connections(), body=runtime.settings.max_message)
    try:
        server = await HttpServer.start(
            listen.address.host, listen.address.port, front.handle, limits, front.admit, front.failed, room
        )
    except OSError as error:
        raise StartError(
            f"cannot listen on {listen.address}: {error.strerror}; give another --bind or --port"
        ) from None
    server.turned_away = refusals(runtime.settings.server, "clients", runtime.emit)
    hosts = Hosts(listen.address.host, server.port, listen.allow_hosts, listen.allow_origins)
    methods = {listen.path: METHODS} if listen.transport == "http" else legacy_methods(listen.path)
    front.guard = Guard(methods, hosts, who, asked_to_stop.is_set)
    front.backend = backend = _backend(runtime, listen, room)
    try:
        host = f"[{listen.address.host}]" if ":" in listen.address.host else listen.address.host
        state.info(
            "listening on http://%s:%d%s", host, server.port, listen.path,
            extra=fields("listening", address=f"http://{host}:{server.port}{listen.path}"),
        )  # fmt: skip
        runtime.ready()
        watching = runtime.watch(backend.tools_changed)
        sweeping = tasks.lasting(partial(_sweep, backend, server))
        await asked_to_stop.wait()
        sweeping.cancel()
        watching.cancel()
        server.stop_accepting()
        backend.end_streams()
        runtime.gate.end_holds()
        await server.close(DRAIN)
    finally:
        await server.close(0)
        await backend.close()
    return End(0, "signal")


def _room(limit: int) -> MemoryBudget:
    """The room for all that is held at once, which is said. Raises `StartError` where there is too little."""
    found = memory()
    room = room_for(limit, found)
    state.info(
        "messages may take %d MiB at once, of the %d MiB of %s", room.limit >> 20, found.size >> 20, found.whose,
        extra=fields("memory", bytes=room.limit),
    )  # fmt: skip
    return room


def _connections() -> int:
    """How many clients may be connected: half of the files that we may open, since each may need another one."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if files == resource.RLIM_INFINITY else min(CONNECTIONS, files // 2)


def who_calls(listen: Listen) -> Authenticator:
    """What callers have to show. Raises `StartError` and `UsageError`."""
    jwt = listen.jwt or Jwt("", "", "")
    return authenticator(listen.token_file, jwt.jwks or None, jwt.issuer, jwt.audience, _fetch)


def check_scopes(bundle: Bundle, who: Authenticator) -> None:
    """Whether the policy can be served to such callers. Raises `StartError`."""
    if "principal" in bundle.terms.scopes and not who.knows_callers:
        raise StartError(
            "scope: principal needs callers that authenticate themselves: give --jwt-jwks or --auth-token-file"
        )


def _backend(runtime: Runtime, listen: Listen, room: MemoryBudget) -> Backend:
    settings, emit = runtime.settings, runtime.emit
    numbers = itertools.count(1)

    def name() -> str:
        return f"{runtime.instance}.{next(numbers)}"

    def caller(principal: Principal | None, *, alone: bool) -> Caller:
        # A client without a session is counted as who it is, else as whoever shares this sidecar.
        if alone:
            return Caller(principal.key if principal is not None else runtime.instance, principal=principal)
        return Caller(name(), principal=principal)

    def counted(count: int) -> None:
        emit(SessionsOpen(settings.server, count))

    counted(0)  # where nobody says, there is one, as on stdio

    def open_session(
        principal: Principal | None, route: Route, announce: Callable[[Message], None], revision: str, *, alone: bool
    ) -> Session:  # fmt: skip
        return Session(
            server=settings.server, caller=caller(principal, alone=alone), gate=runtime.gate, emit=emit, route=route,
            announce=announce, revision=revision, reader=runtime.reader,
        )  # fmt: skip

    def tracked_session(tracked: Tracked, principal: Principal | None, revision: str) -> Session:
        return Session(
            server=settings.server, caller=caller(principal, alone=True), gate=runtime.gate, emit=emit,
            route=tracked.route, announce=tracked.announce, resumable=True, revision=revision,
            reader=runtime.reader,
        )  # fmt: skip

    table = Table(asyncio.get_running_loop().time, counted, listen.max_sessions, listen.max_each, listen.idle)
    upstream, told = settings.upstream, teller(settings.server, emit)
    if upstream is not None and listen.transport == "http" and not upstream.legacy:
        credentials = CREDENTIALS if upstream.forward_authorization else frozenset()
        return Relay(
            remote(upstream, settings.max_message, room, told), table, tracked_session, name, emit, settings.server,
            also=credentials.union(upstream.forward_headers), cookies=upstream.forward_authorization,
        )  # fmt: skip
    opener, unread = telling(connector(settings, room, told), told), Unread(room)
    if listen.transport == "sse":
        return Legacy(opener, table, partial(open_session, alone=False), listen.path, unread)
    shared = Shared(opener, partial(open_session, alone=True), emit, settings.server, unread, runtime.reader)
    return Hosted(opener, table, partial(open_session, alone=False), shared, unread)


async def _sweep(backend: Backend, server: HttpServer) -> None:
    said = 0
    while True:
        await asyncio.sleep(SWEEP)
        backend.end_idle()
        if server.cut_off > said:
            log.warning(
                "%d clients did not take their answers and were cut off", server.cut_off - said,
                extra=fields("clients_cut_off", count=server.cut_off - said),
            )  # fmt: skip
            said = server.cut_off


async def _fetch(url: str) -> bytes:
    """What a URL answers with status 200. Raises OSError, or `SidecarError` for any other answer."""
    origin, target = parse(url)
    client = HttpClient(origin)
    try:
        answer = await client.send("GET", target, [("accept", "application/json")])
        body = await answer.read(MAX_BYTES)
    finally:
        await client.close()
    if answer.status != 200 or not isinstance(body, bytes):
        raise SidecarError(
            f"{url} answered status {answer.status}" if isinstance(body, bytes) else f"{url} answered too much"
        )
    return body
