"""Approvals in a real store, asked for and answered as calls and people do it, and a clock that a test sets."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import pytest
from msgspec.structs import replace

from sidecar.events import Event
from sidecar.ledger.approvals import Answer, Asked, Record, Unapproved
from sidecar.ledger.protocol import Claim, Ledger
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.sqlite import SqliteLedger
from tests.approvals.calls import asked
from tests.ledger.stores import Clock, RedisStore, SqliteStore
from tests.support.peer import SECONDS
from tests.support.redis_server import RedisServer

Place: TypeAlias = SqliteStore | RedisStore


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Where a store is kept, in which nothing stands."""
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "counters.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return RedisStore(server.dsn, f"test-{secrets.token_hex(4)}:")


@asynccontextmanager
async def keeping(place: Place, clock: Clock) -> AsyncIterator[Ledger]:
    """A store for the length of a `with`, in which no time passes but that of the clock."""
    ledger: Ledger
    if isinstance(place, SqliteStore):
        ledger = SqliteLedger(place.path, clock, clock)
    else:
        ledger = RedisLedger(place.dsn, place.prefix, clock, clock)
    try:
        yield ledger
    finally:
        await ledger.close()


def notified(call: Asked | None = None) -> Asked:
    """A call of whose approval a webhook hears."""
    return replace(call or asked(), notify=True)


async def ask(ledger: Ledger, call: Asked) -> Record:
    """Ask for an approval that nobody gave yet."""
    claimed = await ledger.claim((), (), call)
    assert isinstance(claimed, Unapproved), claimed
    return claimed.record


async def use(ledger: Ledger, call: Asked) -> Record:
    """Take an approval that was given."""
    claimed = await ledger.claim((), (), call)
    assert isinstance(claimed, Claim), claimed
    assert claimed.approval is not None
    return claimed.approval


def says(
    verdict: Literal["approve", "deny", "committed", "failed", "revoke"], by: str = "alice", via: str = "cli"
) -> Answer:
    """What a person says."""
    return Answer(by, 0.0, via, "here", verdict, "because")


async def until(true: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(SECONDS):
        while not true():  # noqa: ASYNC110 - what is waited for happens in another thread
            await asyncio.sleep(0.005)


@dataclass
class Heard:
    """Events, in the order in which they came."""

    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[Event]) -> list[Event]:
        """Those of one kind."""
        return [event for event in self.events if type(event) is kind]
