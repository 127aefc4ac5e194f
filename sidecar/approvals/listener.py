"""The listener of the approvals' API and page: an address of its own, apart from telemetry and from agents.

Nobody is let in without a token, from loopback neither: an agent's shell and the containers of a pod share it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from sidecar.approvals.api import PREFIX, Api, problem
from sidecar.approvals.approvers import Approvers
from sidecar.approvals.guard import Guard, is_own, secured
from sidecar.approvals.page.site import Site
from sidecar.approvals.queue import Queue
from sidecar.approvals.sessions import Sessions
from sidecar.approvals.site import Page, Parts
from sidecar.auth.hosts import Hosts
from sidecar.errors import StartError
from sidecar.events import Emit
from sidecar.http.exchange import Exchange
from sidecar.http.origin import parse
from sidecar.http.server import HttpServer, Limits
from sidecar.http.values import Headers, Repeated, Request, Response
from sidecar.ledger.protocol import Ledger
from sidecar.settings import ApprovalsListener
from sidecar.system import defects
from sidecar.system.lines import TooLong

LIMITS: Final = Limits(connections=256, head=16 << 10, body=64 << 10, head_seconds=5, body_seconds=10)


async def serve_approvals(
    listener: ApprovalsListener, ledger: Ledger, server: str, emit: Emit, page: Callable[[Parts], Page] = Site
) -> HttpServer:
    """Listen until the server is closed. Raises `StartError` and `UsageError`.

    It serves the approvals of every server in the store; `server` is ours.
    """
    queue = Queue(ledger, server, emit)
    approvers = Approvers(listener.approvers_file)
    guard = Guard(approvers, queue)
    origin = parse(listener.url)[0]
    ours = f"{'https' if origin.secure else 'http'}://{origin.host_header}"
    sessions = Sessions(approvers, ours)
    pages = page(Parts(queue, guard, sessions, listener.url))
    address, names = listener.address, (*listener.allow_hosts, origin.host_header)
    hosts = Hosts(address.host, address.port, names)
    front = _Front(Api(queue, guard), pages, sessions, guard, hosts, ours)
    try:
        http = await HttpServer.start(address.host, address.port, front.handle, LIMITS, front.admit, front.failed)
    except OSError as error:
        raise StartError(
            f"cannot listen on {address} for approvals: {error.strerror}; give another --approvals HOST:PORT"
        ) from None
    front.hosts = Hosts(address.host, http.port, names)
    return http


class _Front:
    """What every request meets first, and who answers it."""

    def __init__(self, api: Api, page: Page, sessions: Sessions, guard: Guard, hosts: Hosts, ours: str) -> None:
        self.hosts = hosts
        self._guard = guard
        self._api = api
        self._page = page
        self._ours = ours
        self._sessions = sessions

    def admit(self, method: str, target: str, headers: Headers) -> Response | None:
        """The refusal of a request by its head, or None."""
        try:
            # Our own pages only, whatever else may be served on this machine: so an origin has to be that of the host.
            refusal = self.hosts.check(headers.get("host"), None)
            if refusal is None and is_own(headers, self._ours):
                return None
        except Repeated as error:
            return problem(400, str(error))
        if refusal is not None:
            return problem(refusal.status, refusal.text)
        # By its head alone nobody knows the address; all such tries share one bound.
        via = "api" if target.startswith(PREFIX) else "page"
        self._guard.refused(via, "", "ask", 403, "a page of another origin asked")
        return problem(403, "pages of another origin may not ask here")

    def handle(self, request: Request, exchange: Exchange) -> Coroutine[Any, Any, None]:
        """Answer one request."""
        return self._answer(request, exchange)

    def failed(self, exchange: Exchange, error: Exception) -> None:
        """A defect of ours, or a header that stands twice, ends one request."""
        if isinstance(error, Repeated) and not exchange.is_over:
            exchange.send(problem(400, str(error)))
            return
        trace = defects.tell("a request for approvals is refused", error)
        if not exchange.is_over:
            exchange.send(problem(500, defects.text(trace)))

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        if isinstance(request.body, TooLong):
            exchange.send(problem(413, f"a body may have up to {LIMITS.body} bytes"))
        elif request.path == PREFIX or request.path.startswith(f"{PREFIX}/"):
            exchange.send(secured(await self._api.answer(request)))
        else:
            await self._page.handle(
                request, exchange, self._sessions.visit(request.path, request.headers, request.peer)
            )
