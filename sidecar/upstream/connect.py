"""Connections to servers, as the settings name them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from sidecar.http.origin import parse
from sidecar.settings import Settings, Upstream
from sidecar.system.guardian import Guardian
from sidecar.system.memory import MemoryBudget
from sidecar.upstream import error_stream, stdio
from sidecar.upstream.failure import NotConnected, Told, untold
from sidecar.upstream.http_sse import SseLink
from sidecar.upstream.link import Link
from sidecar.upstream.remote import Remote
from sidecar.upstream.static_headers import fixed_headers
from sidecar.upstream.streamable_http import HttpLink

OpenLink: TypeAlias = Callable[[], Awaitable[Link]]


def connector(settings: Settings, room: MemoryBudget | None = None, told: Told = untold) -> OpenLink:
    """What opens a connection to the server: a child, or a remote one; `told` hears of its failures from then on.

    Raises `StartError` for what cannot work. What it gives back raises `NotConnected`, which `told` does not hear of.
    """
    upstream = settings.upstream
    if upstream is None:
        stdio.check(settings.command)
        guardian, lines = Guardian(), error_stream.sparing()
        return lambda: stdio.ChildServer.start(settings.command, settings.max_message, guardian, room, told, lines)
    there = remote(upstream, settings.max_message, room, told)

    async def http() -> Link:
        return HttpLink(there.apart())

    async def sse() -> Link:
        return await SseLink.connect(there.apart())

    return sse if upstream.legacy else http


def telling(open_link: OpenLink, told: Told) -> OpenLink:
    """The same, where `told` hears of connections that could not be made as well."""

    async def open_told() -> Link:
        try:
            return await open_link()
        except NotConnected as problem:
            told(problem.failure)
            raise

    return open_told


def remote(upstream: Upstream, limit: int, room: MemoryBudget | None = None, told: Told = untold) -> Remote:
    """The remote server, whose URL can be read. Raises `StartError`."""
    origin, target = parse(upstream.url)
    return Remote(origin, target, fixed_headers(upstream.headers), limit, room, told=told)
