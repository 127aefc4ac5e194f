"""The ledger of limits. Shared here: reservations, a clock that a test sets, a ledger for the length of a `with`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Reservation

DAY = 86400
NOON = 20_000 * DAY + DAY // 2
"""A noon in UTC."""


@dataclass
class Clock:
    """A clock that stands until it is set."""

    now: float = NOON

    def __call__(self) -> float:
        return self.now


def wants(
    counter: str = "stub/t.n", *, amount: Amount = 1, limit: Amount = 3, window: int = DAY, holder: str = ""
) -> Reservation:
    """A reservation; by default of one in three a day."""
    return Reservation(counter, holder, window, amount, limit)


@asynccontextmanager
async def ledger_at(path: Path, clock: Clock | None = None) -> AsyncIterator[SqliteLedger]:
    """A ledger in a file."""
    ledger = SqliteLedger(path, clock or Clock())
    try:
        yield ledger
    finally:
        await ledger.close()
