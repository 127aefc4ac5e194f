"""The listener of approvals on a real store, called by a real HTTP client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from sidecar.approvals.listener import serve_approvals
from sidecar.approvals.page.site import Site
from sidecar.approvals.site import Page, Parts
from sidecar.events import ApprovalChanged, ApprovalTried, Event
from sidecar.ledger.approvals import Asked, Record, Unapproved
from sidecar.ledger.protocol import Claim, Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.settings import Address, ApprovalsListener
from tests.approvals.people import ALICE, EVERYBODY, write


@dataclass
class Served:
    """A listener, its store, and what it told of."""

    ledger: Ledger
    port: int
    people: Path
    client: httpx.AsyncClient
    told: list[Event] = field(default_factory=list)

    @property
    def changes(self) -> list[ApprovalChanged]:
        return [event for event in self.told if isinstance(event, ApprovalChanged)]

    @property
    def tries(self) -> list[tuple[str, str, int]]:
        """Who was refused what, with which status."""
        return [(one.who, one.what, one.status) for one in self.told if isinstance(one, ApprovalTried)]

    async def ask(self, call: Asked) -> Record:
        """An agent calls, and a person is asked."""
        found = await self.ledger.claim((), asked=call)
        assert isinstance(found, Unapproved)
        return found.record

    async def use(self, call: Asked) -> Record:
        """The agent calls again, and may."""
        found = await self.ledger.claim((), asked=call)
        assert isinstance(found, Claim)
        assert found.approval is not None
        return found.approval

    async def get(self, path: str, token: str = ALICE, **more: Any) -> httpx.Response:
        """What the API answers to an approver."""
        return await self.client.get(
            path, headers={"authorization": f"Bearer {token}", **more.pop("headers", {})}, **more
        )

    async def post(self, path: str, body: object, token: str = ALICE, **headers: str) -> httpx.Response:
        """The same for what an approver decides."""
        return await self.client.post(path, headers={"authorization": f"Bearer {token}", **headers}, json=body)

    async def digest(self, record: Record, token: str = ALICE) -> str:
        """The digest of what is shown of a call."""
        found = await self.get(f"/api/approvals/{record.id}", token)
        assert found.status_code == 200, found.text
        return str(found.json()["digest"])

    async def approve(self, record: Record, token: str = ALICE, **more: object) -> httpx.Response:
        """Look at a call and approve it."""
        digest = await self.digest(record, token)
        return await self.post(f"/api/approvals/{record.id}/approve", {"digest": digest, **more}, token)


@asynccontextmanager
async def serving(
    tmp_path: Path,
    *,
    url: str = "",
    hosts: tuple[str, ...] = (),
    page: Callable[[Parts], Page] = Site,
    ledger: Ledger | None = None,
) -> AsyncIterator[Served]:
    """A listener for Alice, Bob and Carol, closed at the end."""
    people = write(tmp_path / "people.yaml", *EVERYBODY)
    ledger = ledger or SqliteLedger(tmp_path / "counters.db", time.time)
    told: list[Event] = []
    settings = ApprovalsListener(Address("127.0.0.1", 0), people, url or "http://approvals.test", hosts)
    server = await serve_approvals(settings, ledger, "okx", told.append, page)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=20) as client:
            yield Served(ledger, server.port, people, client, told)
    finally:
        await server.close(0)
        await ledger.close()
