"""Limits that others count too: the metrics show where they stand in the store."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sidecar.errors import StoreUnavailable
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Counter, Reservation
from sidecar.observe.metrics.standing import MOST, read
from tests.engine.asking import bundle_of
from tests.observe.metrics.test_limits import World

PER_MINUTE, ANY_HOUR, SESSION = ("pay", "per minute"), ("pay", "any hour"), ("pay", "of session")


def taken(world: World, rule: str, amount: int, holder: str = "") -> Reservation:
    entry = world.entry(rule, holder)
    one = entry.reservation
    return Reservation(one.counter, holder, one.window, amount, None, sliding=one.sliding)


def test_what_others_counted_in_the_same_store_is_shown(tmp_path: Path) -> None:
    async def test() -> None:
        world = World()
        ledger = SqliteLedger(tmp_path / "counters.db", lambda: world.now)
        await read(world.limits, ledger, lambda: world.now)
        assert world.shown()[PER_MINUTE] == 5
        every = (taken(world, "per minute", 2), taken(world, "any hour", 20), taken(world, "of session", 8, "s1"))
        await ledger.claim(every)
        await read(world.limits, ledger, lambda: world.now)
        assert (world.shown()[PER_MINUTE], world.shown()[ANY_HOUR], world.shown()[SESSION]) == (3, 40, 9)
        world.now += 60
        assert world.shown()[PER_MINUTE] == 5
        world.now += 3_600
        await read(world.limits, ledger, lambda: world.now)
        assert (world.shown()[PER_MINUTE], world.shown()[ANY_HOUR]) == (5, 60)
        await ledger.close()

    asyncio.run(test())


class Slow:
    """A store whose totals are old when they come: a call was counted meanwhile."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        self._world.count("per minute", 4)
        return tuple(1 for _ in counters)


def test_a_call_that_was_counted_meanwhile_knows_better() -> None:
    world = World()
    world.count("per minute", 3)
    asyncio.run(read(world.limits, Slow(world), lambda: world.now))  # type: ignore[arg-type] # totals are all it needs
    assert world.shown()[PER_MINUTE] == 1
    assert world.shown()["*", "all"] == 9


class Gone:
    """A store that cannot be used."""

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        raise StoreUnavailable("gone")


def test_a_store_that_cannot_be_used_changes_nothing() -> None:
    world = World()
    world.count("per minute", 3)
    asyncio.run(read(world.limits, Gone(), lambda: world.now))  # type: ignore[arg-type] # totals are all it needs
    assert world.shown()[PER_MINUTE] == 2


class Counted:
    """How many totals were asked for."""

    asked = 0

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        self.asked = len(counters)
        return tuple(0 for _ in counters)


def test_one_look_reads_a_bounded_number_of_counters() -> None:
    tools = "".join(f"t{number}: {{rules: [{{rate_limit: 9/minute}}]}}, " for number in range(2 * MOST))
    world, ledger = World(bundle_of(f"tools: {{{tools}}}")), Counted()
    asyncio.run(read(world.limits, ledger, lambda: world.now))  # type: ignore[arg-type] # totals are all it needs
    assert ledger.asked == MOST
