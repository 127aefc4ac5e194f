"""The ledger of limits. Shared here: reservations, a clock that a test sets, and the stores that tests run on."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from decimal import Context, Decimal
from pathlib import Path
from typing import Protocol, TypeAlias

import redis

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import NOTHING_ASKED, Wants
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Claimed, Exhausted, Ledger
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.redis_counters import PLACES
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Reservation, Seen

DAY = 86400
NOON = 20_000 * DAY + DAY // 2
"""A noon in UTC."""

EXACT = Context(prec=200)
"""More digits than any sum of amounts has."""

Row: TypeAlias = tuple[str, str, int, int, Amount]
"""What stands for a window of a counter, or for a slice where it slides: counter, holder, window, start, total."""


@dataclass
class Clock:
    """A clock that stands until it is set; `ran` is what another one says, which nobody sets."""

    now: float = NOON
    ran: float = 0.0

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.ran

    def passes(self, seconds: float) -> None:
        """Time passes, by both."""
        self.now += seconds
        self.ran += seconds


class Store(Protocol):
    """Where ledgers keep their counters: any number of them may be open at once, in any process."""

    @property
    def words(self) -> list[str]:
        """How another process names it; `store_of` understands them."""

    def ledger(self, clock: Clock) -> Ledger:
        """A ledger on it, to be closed."""

    def rows(self) -> list[Row]:
        """All that stands in it, sorted."""


@dataclass(frozen=True)
class SqliteStore:
    """A file."""

    path: Path

    @property
    def words(self) -> list[str]:
        return ["sqlite", str(self.path)]

    def ledger(self, clock: Clock) -> SqliteLedger:
        return SqliteLedger(self.path, clock, clock.monotonic)

    def rows(self) -> list[Row]:
        with closing(sqlite3.connect(self.path)) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = db.execute("SELECT counter, holder, window, start, total FROM counters").fetchall()
            rows += db.execute("SELECT counter, holder, window, slice, total FROM slices").fetchall()
        return sorted((*row[:4], Decimal(row[4])) for row in rows)


@dataclass(frozen=True)
class RedisStore:
    """A database, and the keys of it that have a prefix."""

    dsn: str = field(repr=False)
    prefix: str

    @property
    def words(self) -> list[str]:
        return ["redis", self.dsn, self.prefix]

    def ledger(self, clock: Clock) -> RedisLedger:
        return RedisLedger(self.dsn, self.prefix, clock, clock.monotonic)

    def rows(self) -> list[Row]:
        with redis.Redis.from_url(self.dsn, decode_responses=True) as client:
            counters = [key for key in self.keys(client) if not key.removeprefix(self.prefix).startswith("|")]
            return sorted(row for key in counters for row in _rows(key.removeprefix(self.prefix), client, key))

    def keys(self, client: redis.Redis) -> list[str]:
        """Its keys."""
        return [str(key) for key in client.scan_iter() if str(key).startswith(self.prefix)]


def store_of(words: list[str]) -> Store:
    """The store that another process named."""
    match words:
        case ["sqlite", path]:
            return SqliteStore(Path(path))
        case ["redis", dsn, prefix]:
            return RedisStore(dsn, prefix)
    raise ValueError(words)


@asynccontextmanager
async def ledger_in(store: Store, clock: Clock | None = None) -> AsyncIterator[Ledger]:
    """A ledger for the length of a `with`."""
    ledger = store.ledger(clock or Clock())
    try:
        yield ledger
    finally:
        await ledger.close()


def wants(
    counter: str = "stub/t.n", *, amount: Amount = 1, limit: Amount | None = 3, window: int = DAY, holder: str = "",
    exclusive: bool = False, sliding: bool = False,
) -> Reservation:  # fmt: skip
    """A reservation; by default of one in three a day."""
    return Reservation(counter, holder, window, amount, limit, exclusive, sliding)


async def claim(
    ledger: Ledger, *reservations: Reservation, seen: tuple[Seen, ...] = (), asks: Wants | None = None
) -> Claimed:
    """Claim as the gate does: at once, or else by waiting."""
    asked = NOTHING_ASKED if asks is None else {0: asks}
    claimed = ledger.claim_at_once([reservations], {0: seen} if seen else NOTHING_SEEN, asked)
    if claimed is None:
        return await ledger.claim(reservations, seen, asks)
    (one,) = claimed
    if isinstance(one, StoreUnavailable):
        raise one
    return one


async def claims(ledger: Ledger, *reservations: Reservation) -> Claim:
    """A claim that must get through."""
    claimed = await claim(ledger, *reservations)
    assert isinstance(claimed, Claim), claimed
    return claimed


async def position(ledger: Ledger, *reservations: Reservation) -> int:
    """Which reservation refuses a claim."""
    claimed = await claim(ledger, *reservations)
    assert isinstance(claimed, Exhausted), claimed
    return claimed.position


def _rows(name: str, client: redis.Redis, key: str) -> Iterator[Row]:
    counter, holder, window, start = name.split("|")
    found = client.zrange(key, 0, -1) if start == "sliding" else [":".join((start, str(client.get(key))))]
    for one in found:
        number, units = str(one).split(":")
        yield counter, holder, int(window), int(number), Decimal(units).scaleb(-PLACES, EXACT)
