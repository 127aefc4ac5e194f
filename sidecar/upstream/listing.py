"""Asking a server of the stateless revision for its list of tools on our own account."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from sidecar.errors import InvalidMessage
from sidecar.http.client import ClientResponse
from sidecar.http.sse import Event, EventReader
from sidecar.http.values import EVENTS
from sidecar.mcp import jsonrpc, protocol
from sidecar.mcp.jsonrpc import Request, Response
from sidecar.upstream.remote import media_type

MAX_PAGES: Final = 20

_NUMBERS = itertools.count(1)


async def pages(ask: Callable[[Request], Awaitable[ClientResponse]], meta: Any, limit: int) -> AsyncIterator[Response]:
    """The pages of the list, each as the answer that it came in, as far as the server gives any.

    `ask` sends a request, `meta` stands in each, `limit` bounds a page in bytes. Raises what `ask` raises, and `Lost`.
    """
    cursor: dict[str, Any] = {}
    for _ in range(MAX_PAGES):
        id_, params = f"intercept/list/{next(_NUMBERS)}", {"_meta": meta, **cursor}
        reply = await reply_in(await ask(jsonrpc.request(id_, protocol.TOOLS_LIST, params)), limit)
        if reply is None:
            return
        yield reply
        following = reply.result.get("nextCursor") if type(reply.result) is dict else None
        if type(following) is not str:
            return
        cursor = {"cursor": following}


async def reply_in(answer: ClientResponse, limit: int) -> Response | None:
    """The first response that an answer holds, plainly or in events. Raises `Lost`, ValueError for what is no UTF-8."""
    try:
        if media_type(answer.headers) != EVENTS:
            body = await answer.read(limit)
            return response(body) if isinstance(body, bytes) else None
        reader = EventReader(limit)
        async for chunk in answer.chunks():
            for event in reader.feed(chunk):
                if isinstance(event, Event) and event.data:
                    reply = response(event.data.encode())
                    if reply is not None:
                        return reply
        return None
    finally:
        answer.abort()


def response(message: bytes) -> Response | None:
    """The response in a message; None for anything else."""
    try:
        read = jsonrpc.read(message)
    except InvalidMessage:
        return None
    return read if isinstance(read, Response) else None
