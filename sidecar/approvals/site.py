"""What the page of the listener is made of, and what the listener needs of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sidecar.approvals.guard import Guard
from sidecar.approvals.queue import Queue
from sidecar.approvals.sessions import Sessions, Visit
from sidecar.http.exchange import Exchange
from sidecar.http.values import Request


@dataclass(frozen=True, slots=True)
class Parts:
    """What a page uses. `url` is where people reach it, without a slash at its end."""

    queue: Queue
    guard: Guard
    sessions: Sessions
    url: str


class Page(Protocol):
    """Answers what is not for the API."""

    async def handle(self, request: Request, exchange: Exchange, visit: Visit) -> None:
        """Answer one request of a browser, whose origin was checked; `visit` says who signed in, if anybody did.

        The body is whole. What the answer's headers need (`guard.SECURITY`) is for the page to send.
        """
