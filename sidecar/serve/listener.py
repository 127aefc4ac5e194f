"""Serving many clients over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sidecar import tasks
from sidecar.admit.caller import Authenticator, authenticator
from sidecar.admit.fetch import fetch
from sidecar.admit.hosts import Hosts
from sidecar.caller import Caller
from sidecar.downstream.guard import Guard
from sidecar.downstream.hosted import Hosted, HostedSession
from sidecar.downstream.legacy import METHODS as LEGACY_METHODS
from sidecar.downstream.legacy import STREAM, Legacy
from sidecar.downstream.relay import Relay, Tracked
from sidecar.downstream.sessions import Sessions
from sidecar.downstream.shared import Shared
from sidecar.errors import StartError
from sidecar.events import SessionsOpen
from sidecar.http.server import Exchange, HttpServer, Limits
from sidecar.http.values import Request
from sidecar.jsonrpc import Message
from sidecar.policy.bundle import Bundle
from sidecar.principal import Principal
from sidecar.serve.links import links, remote
from sidecar.serve.parts import Parts, state
from sidecar.session import Route, Session
from sidecar.settings import Listen, Settings

log = logging.getLogger("sidecar")

ENDPOINT: Final = "/mcp"
METHODS: Final = {ENDPOINT: ("POST", "GET", "DELETE")}
SWEEP: Final = 5.0
"""Seconds between two looks for sessions that nobody uses."""
DRAIN: Final = 20.0
"""Seconds that calls in flight have to finish when we are asked to stop; Kubernetes allows 30 in all."""


class Backend(Protocol):
    """Whoever answers requests that were admitted."""

    async def handle(self, request: Request, exchange: Exchange) -> None:
        """Answer one request."""

    def tools_changed(self) -> None:
        """Tell clients that listen for it that the list of tools changed."""

    def end_streams(self) -> None:
        """End what would last for ever: streams on which clients only listen."""

    async def close(self) -> None:
        """End every session and every server."""


async def serve(parts: Parts, who: Authenticator, asked_to_stop: asyncio.Event) -> int:
    """Serve clients until we are asked to stop, then let calls in flight finish. Returns the exit status."""
    listen = parts.settings.listen
    assert listen is not None  # otherwise the client is on stdio
    draining = asyncio.Event()
    hosts = Hosts(listen.address.host, listen.address.port, listen.allow_hosts, listen.allow_origins)
    methods = METHODS if listen.transport == "http" else LEGACY_METHODS
    guard = Guard(methods, hosts, who, draining.is_set)
    backend = _backend(parts, listen, guard)
    server = await _listen(listen, parts.settings, guard, backend)
    try:
        path = ENDPOINT if listen.transport == "http" else STREAM
        state.info("listening on http://%s:%d%s", _shown_host(listen.address.host), server.port, path)
        state.info("ready")
        watching = parts.watch(lambda bundle: check_scopes(bundle, who), backend.tools_changed)
        await asked_to_stop.wait()
        if watching is not None:
            watching.cancel()
        draining.set()
        server.stop_accepting()
        backend.end_streams()
        await _drained(server)
    finally:
        await server.close()
        await backend.close()
    return 0
