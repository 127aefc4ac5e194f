"""The one statement that believes a counter to stand where we left it, against the transaction that looks.

Two ledgers on one file, which take the short way where they can, and somebody who changes the file behind their backs,
against one ledger that always looks: whatever happens in whatever order, both sides decide and count the same.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import NOTHING_SEEN, Claim, Ledger, Taken
from sidecar.ledger.sqlite import SWEEP, SqliteLedger
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen
from tests.ledger.stores import DAY, Clock, wants
from tests.support.fuzzing import examples

Calls: TypeAlias = list[tuple[Reservation, ...]]

STEPS = 60
AMOUNTS: list[Amount] = [0, 1, 1, 2, Decimal("0.10"), Decimal("0.1"), Decimal("1E+1"), Decimal("1.0"), 2**64]
LIMITS: list[Amount | None] = [None, None, 3, 9, 20, Decimal("1.1"), 2**65]
KINDS = ["claim"] * 6 + ["again"] * 6 + ["seen"] + ["give back"] * 2 + ["write", "remove", "clock", "lived", "open"]


def steps_of(chance: random.Random) -> Iterator[tuple[str, Any, Any]]:
    """Many steps on few counters: they have to meet for anything to go wrong."""

    def calls() -> Calls:
        counters, windows = chance.choice(["a", "a", "ab"]), chance.choice([[60], [60], [60, DAY]])

        def reservation() -> Reservation:
            return wants(
                chance.choice(counters), amount=chance.choice(AMOUNTS), limit=chance.choice(LIMITS),
                window=chance.choice(windows), holder=chance.choice(["", "", "", "s"]), exclusive=chance.random() < 0.2,
                sliding=chance.random() < 0.2,
            )  # fmt: skip

        return [
            tuple(reservation() for _ in range(chance.choice([1, 1, 1, 2, 0]))) for _ in range(chance.randint(1, 3))
        ]

    for _ in range(STEPS):
        step, who = chance.choice(KINDS), chance.randint(0, 1)
        match step:
            case "claim":
                yield step, who, calls()
            case "write":
                yield step, chance.choice("ab"), chance.choice(["0", "1", "1.0", "7", "many", "NaN"])
            case "remove":
                yield step, chance.choice("ab"), None
            case "clock":
                yield step, who, chance.choice([1, 60, -60, DAY, -DAY])
            case "lived":
                yield step, who, chance.choice([60.0, SWEEP, 3.0 * DAY])
            case _:
                yield step, who, chance.randint(0, 9)


class Looks(SqliteLedger):
    """One that takes no short way."""

    def _claim_optimistically(self, wanted: Sequence[tuple[Reservation, ...]]) -> None:
        return None


class Both:
    """The two sides, and all that is done to them alike."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.lived = Clock(), Clock(1000.0)
        self.paths = [folder / "short.db", folder / "long.db"]
        self.short = [self.opened(SqliteLedger, 0) for _ in range(2)]
        self.long = [self.opened(Looks, 1) for _ in range(2)]
        self.claimed: list[tuple[Entry, ...]] = []
        self.last: Calls = [(wants("a", window=60),)]

    def opened(self, kind: type[SqliteLedger], which: int) -> SqliteLedger:
        """A ledger of one side."""
        return kind(self.paths[which], self.clock, self.lived)

    def both(self, who: int) -> tuple[SqliteLedger, SqliteLedger]:
        """The ledger of the same name on either side."""
        return self.short[who], self.long[who]

    async def do(self, step: str, who: Any, what: Any) -> None:
        """One step, and what must be equal after it."""
        match step:
            case "claim":
                self.last = what
                self.claim(who, what)
            case "seen":
                self.claim(who, self.last, {what % len(self.last): (Seen(Counter("a", "", 60, what > 6), what % 3),)})
            case "again":
                for _ in range(1 + what % 3):
                    self.claim(who, self.last)
            case "give back" if self.claimed:
                entries = self.claimed.pop(what % len(self.claimed))
                assert equal([give_back(ledger, entries) for ledger in self.both(who)])
            case "write" | "remove":
                for path, table in itertools.product(self.paths, ("counters", "slices")):
                    with closing(sqlite3.connect(path)) as db, db:
                        if step == "write":
                            db.execute(f"UPDATE {table} SET total = ? WHERE counter = ?", (what, who))
                        else:
                            db.execute(f"DELETE FROM {table} WHERE counter = ?", (who,))
            case "clock":
                self.clock.now += what
            case "lived":
                self.clock.now += what
                self.lived.now += what
            case "open":
                for side, kind, which in ((self.short, SqliteLedger, 0), (self.long, Looks, 1)):
                    await side[who].close()
                    side[who] = self.opened(kind, which)
        assert rows(self.paths[0]) == rows(self.paths[1])

    def claim(self, who: int, calls: Calls, seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN) -> None:
        """Claim on both sides."""
        short, long = (ledger.claim_at_once(calls, seen) for ledger in self.both(who))
        assert short is not None
        assert long is not None
        assert [shown(taken) for taken in short] == [shown(taken) for taken in long]
        self.claimed += [taken.entries for taken in short if isinstance(taken, Claim)]

    async def close(self) -> None:
        for ledger in (*self.short, *self.long):
            await ledger.close()


def shown(taken: Taken) -> object:
    """What became of a claim, an error by its text."""
    return str(taken) if isinstance(taken, Exception) else taken


def give_back(ledger: Ledger, entries: tuple[Entry, ...]) -> str:
    """What becomes of giving back."""
    try:
        return str(ledger.give_back_at_once(entries))
    except StoreUnavailable as error:
        return repr(error)


def equal(two: list[str]) -> bool:
    """Whether both sides said the same."""
    return two[0] == two[1]


def rows(path: Path) -> list[tuple[object, ...]]:
    """All that stands in a file, as it is written there."""
    with closing(sqlite3.connect(path)) as db:
        return [
            row
            for table in ("counters", "slices")
            for row in db.execute(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4").fetchall()
        ]


@pytest.mark.fuzz
@given(seed=st.integers(0, 2**32))
@examples(20)
def test_the_short_way_decides_and_counts_what_the_long_way_does(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("shortcuts")

    async def test() -> None:
        sides = Both(folder)
        try:
            for step in steps_of(random.Random(seed)):
                await sides.do(*step)
        finally:
            await sides.close()

    asyncio.run(test())


def test_the_property_looks_at_claims_that_take_the_short_way(tmp_path: Path) -> None:
    async def test() -> None:
        sides = Both(tmp_path)
        try:
            sliding = wants("a", limit=9, sliding=True)
            for call in ((sliding,), (sliding, wants("a", limit=9))):
                await sides.do("claim", 0, [call])
                assert sides.short[0]._claim_optimistically([call]) is None
            await sides.do("claim", 0, [(wants("a", limit=9),)])
            assert sides.short[0]._claim_optimistically([(wants("a", limit=9),)]) is not None
            assert sides.long[0]._claim_optimistically([(wants("a", limit=9),)]) is None
        finally:
            await sides.close()

    asyncio.run(test())
