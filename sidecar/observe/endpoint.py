"""The telemetry endpoint: `/metrics`, `/healthz`, `/readyz` and nothing else. It holds nothing secret.

Orchestrators restart us by the probes, so other requests must leave room for them: metrics are rendered one at a time,
few requests may wait for them, and an idle connection is closed when a new one needs its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from sidecar.auth.hosts import Hosts
from sidecar.http.endpoint import GetHandler, serve_gets
from sidecar.http.exchange import text, turned_away
from sidecar.http.server import HttpServer
from sidecar.http.values import Headers, Request, Response
from sidecar.settings import Address, UnixSocket
from sidecar.system import unix_socket
from sidecar.system.tasks import in_thread

MAX_SCRAPES: Final = 8
"""Requests for metrics at once; more are answered with 503."""


async def serve(where: Address | UnixSocket, answer: GetHandler, allow_hosts: Iterable[str] = ()) -> HttpServer:
    """Listen, for whoever calls us by an address, by localhost, or by one of `allow_hosts`. Raises OSError.

    On a unix socket any Host will do: no page in a browser can come there.
    """
    if isinstance(where, UnixSocket):
        return await serve_gets("", 0, answer, bound=unix_socket.bound(where.path))
    host, port = where.host, where.port
    # The port does not matter: who comes by an address need not be told by it.
    hosts = Hosts(host, port, allow_hosts, addresses=True)

    def admit(method: str, target: str, headers: Headers) -> Response | None:
        refusal = hosts.check(headers.get("host"), headers.get("origin"))
        return turned_away(refusal.status, refusal.text, refusal.reason) if refusal is not None else None

    return await serve_gets(host, port, answer, admit=admit)


def telemetry(
    exposition: Callable[[str], tuple[bytes, str]], not_ready: Callable[[], str | None],
    notes: Callable[[], list[str]] = list,
) -> GetHandler:  # fmt: skip
    """What answers the requests.

    `exposition` renders metrics and their content type for an Accept header; it may take milliseconds.
    `not_ready` says why the sidecar cannot serve, or None when it can; `notes` is what there is to know beside that.
    """

    turn = asyncio.Lock()
    scrapes = 0

    async def scrape(accept: str) -> Response:
        nonlocal scrapes
        if scrapes >= MAX_SCRAPES:
            return text(503, "others ask for metrics: come back later")
        scrapes += 1
        try:
            async with turn:
                # In a thread, so that a scrape delays no call.
                body, content_type = await in_thread(partial(exposition, accept))
        except OSError as error:  # no thread can be had
            return text(503, str(error.strerror))
        finally:
            scrapes -= 1
        return Response(200, (("content-type", content_type),), body)

    async def answer(request: Request) -> Response:
        match request.path:
            case "/metrics":
                return await scrape(", ".join(request.headers.all("accept")))
            case "/healthz":
                return text(200, "ok")
            case "/readyz":
                why = not_ready()
                return text(503 if why else 200, "\n".join([why or "ready", *notes()]))
            case _:
                return turned_away(404, "not found", "path")

    return answer
