"""What the two directions of a session share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sidecar.auth.caller import Caller
from sidecar.events import Emit
from sidecar.session.client_requests import ClientRequests
from sidecar.session.judge import Judge
from sidecar.session.outstanding import OutstandingRequests, Plain
from sidecar.session.pages import Pages
from sidecar.session.route import Route


@dataclass(slots=True)
class State:
    """The two ends of a session, and what each still waits for.

    `route` is taken by messages of the client that come without one of their own, and by our answers to the server.
    `revision` is empty until it is agreed on.
    """

    server: str
    gate: Judge
    emit: Emit
    route: Route
    caller: Caller
    revision: str
    requests: ClientRequests
    asked_of_client: OutstandingRequests[Plain] = field(default_factory=OutstandingRequests)
    pages: Pages = field(default_factory=Pages)

    @property
    def whose(self) -> str:
        """Who takes turns with others that have large messages: a principal, however many sessions he opens.

        Whoever holds a token of our own is the same principal, so there each session takes turns.
        """
        principal = self.caller.principal
        return principal.key if principal is not None and principal.issuer else self.caller.session
