"""The telemetry endpoint: `/metrics`, `/healthz`, `/readyz` and nothing else. It holds nothing secret."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.listener import Handler, HttpRequest, HttpResponse

_TEXT = {"Content-Type": "text/plain; charset=utf-8"}


def telemetry(exposition: Callable[[str], tuple[bytes, str]], not_ready: Callable[[], str | None]) -> Handler:
    """The handler. `exposition` turns an Accept header into metrics and their content type; it may take milliseconds.

    `not_ready` says why the sidecar cannot serve, or None when it can.
    """

    async def handle(request: HttpRequest) -> HttpResponse:
        match request.path:
            case "/metrics":
                # In a thread, so that a scrape holds up no call.
                body, content_type = await asyncio.to_thread(exposition, request.headers.get("accept", ""))
                return HttpResponse(200, body, {"Content-Type": content_type})
            case "/healthz":
                return HttpResponse(200, b"ok\n", _TEXT)
            case "/readyz":
                why = not_ready()
                return HttpResponse(503, f"{why}\n".encode(), _TEXT) if why else HttpResponse(200, b"ready\n", _TEXT)
            case _:
                return HttpResponse(404, b"not found\n", _TEXT)

    return handle
