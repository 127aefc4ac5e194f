"""Our own small endpoints (metrics, health, the bundle): GET and HEAD only, answered by a function, no bodies."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.http.exchange import Exchange, turned_away
from sidecar.http.server import Admission, Admit, HttpServer, Limits, everyone
from sidecar.http.values import Headers, Repeated, Request, Response

LIMITS: Final = Limits(connections=32, head=16 << 10, body=0, head_seconds=3, idle_seconds=30)

GetHandler = Callable[[Request], Awaitable[Response]]


async def serve_gets(
    host: str, port: int, answer: GetHandler, limits: Limits = LIMITS, admit: Admit = everyone,
    bound: socket.socket | None = None,
) -> HttpServer:  # fmt: skip
    """Listen, on the unix socket `bound` where one is given; `admit` may refuse a GET by its head.

    Raises OSError when the address cannot be had.
    """

    async def handle(request: Request, exchange: Exchange) -> None:
        task = asyncio.current_task()
        assert task is not None
        exchange.on_gone(task.cancel)
        try:
            response = await answer(request)
        except Repeated as error:
            response = turned_away(400, str(error), "header")
        exchange.send(response)

    def only_gets(method: str, target: str, headers: Headers) -> Admission:
        if method not in _METHODS:
            return turned_away(405, "only GET is allowed", "method", ("allow", ", ".join(_METHODS)))
        try:
            return admit(method, target, headers)
        except Repeated as error:
            return turned_away(400, str(error), "header")

    return await HttpServer.start(host, port, handle, limits, only_gets, bound=bound)


_METHODS: Final = ("GET", "HEAD")
