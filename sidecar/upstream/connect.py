"""Connections to servers, as the settings name them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sidecar.errors import StartError
from sidecar.http.origin import parse
from sidecar.settings import Settings, Upstream
from sidecar.system.guardian import Guardian
from sidecar.system.memory import MemoryBudget
from sidecar.upstream import stdio
from sidecar.upstream.http_sse import SseLink
from sidecar.upstream.link import Link
from sidecar.upstream.remote import Remote
from sidecar.upstream.static_headers import fixed_headers
from sidecar.upstream.streamable_http import HttpLink


def connector(settings: Settings, room: MemoryBudget | None = None) -> Callable[[], Awaitable[Link]]:
    """What opens a connection to the server: a child, or a remote one. Raises `StartError` for what cannot work."""
    upstream = settings.upstream
    if upstream is None:
        stdio.check(settings.command)
        guardian = Guardian()
        return lambda: stdio.ChildServer.start(settings.command, settings.max_message, guardian, room)
    there = remote(upstream, settings.max_message, room)

    async def http() -> Link:
        return HttpLink(there.apart())

    async def sse() -> Link:
        return await SseLink.connect(there.apart())

    return sse if upstream.legacy else http


def remote(upstream: Upstream, limit: int, room: MemoryBudget | None = None) -> Remote:
    """The remote server. Raises `StartError`."""
    try:
        origin, target = parse(upstream.url)
    except ValueError as problem:
        raise StartError(f"--upstream {upstream.url}: {problem}") from None
    return Remote(origin, target, fixed_headers(upstream.headers), limit, room)
