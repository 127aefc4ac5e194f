"""The telemetry endpoint: `/metrics`, `/healthz`, `/readyz` and nothing else. It holds nothing secret."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sidecar.http.endpoint import Answer
from sidecar.http.exchange import text
from sidecar.http.values import Request, Response


def telemetry(exposition: Callable[[str], tuple[bytes, str]], not_ready: Callable[[], str | None]) -> Answer:
    """What answers the requests.

    `exposition` turns an Accept header into metrics and their content type; it may take milliseconds.
    `not_ready` says why the sidecar cannot serve, or None when it can.
    """

    async def answer(request: Request) -> Response:
        match request.path:
            case "/metrics":
                # In a thread, so that a scrape holds up no call.
                body, content_type = await asyncio.to_thread(exposition, ", ".join(request.headers.all("accept")))
                return Response(200, (("content-type", content_type),), body)
            case "/healthz":
                return text(200, "ok")
            case "/readyz":
                why = not_ready()
                return text(503, why) if why else text(200, "ready")
            case _:
                return text(404, "not found")

    return answer
