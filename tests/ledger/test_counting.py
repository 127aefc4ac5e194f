"""What every ledger does: exact totals, all or nothing, each window by itself, and back what is given back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest

from sidecar.ledger.protocol import Claim, Exhausted, Ledger, Moved
from sidecar.ledger.values import Amount, Counter, Reservation, Seen, window_start
from tests.ledger.stores import DAY, EXACT, NOON, Clock, Store, claim, claims, ledger_in, position, wants


def with_ledger(store: Store, test: Callable[[Ledger, Clock], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        async with ledger_in(store, clock) as ledger:
            await test(ledger, clock)

    asyncio.run(run())


# Counting.


def test_exactly_as_many_as_the_limit_get_through(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert [(await claims(ledger, wants())).totals for _ in range(3)] == [(1,), (2,), (3,)]
        assert await claim(ledger, wants()) == Exhausted(0, DAY // 2)

    with_ledger(store, test)


def test_an_exclusive_limit_is_never_reached(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        tiny = Decimal("1e-30")
        await claims(ledger, wants(amount=1, limit=2, exclusive=True))
        assert await position(ledger, wants(amount=1, limit=2, exclusive=True)) == 0
        await claims(ledger, wants(amount=Decimal("0." + "9" * 30), limit=2, exclusive=True))
        assert await position(ledger, wants(amount=tiny, limit=2, exclusive=True)) == 0

    with_ledger(store, test)


SEEN = Counter("stub/t.seen", "s", 60)


@pytest.mark.parametrize("seen", [0, 1, 3, Decimal("2.1"), Decimal("1e-30"), 10**33])
@pytest.mark.parametrize("reserved", [(), (wants("stub/t.seen", window=60, holder="s", limit=9),), (wants(),)])
def test_nothing_is_given_where_a_counter_does_not_stand_where_it_was_seen(
    store: Store, seen: Amount, reserved: tuple[Reservation, ...]
) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await claims(ledger, wants("stub/t.seen", window=60, holder="s", amount=2))
        before = store.rows()
        stands = Seen(Counter("stub/t.none", "", 60), 0)
        assert await claim(ledger, *reserved, seen=(stands, Seen(SEEN, seen))) == Moved()
        assert store.rows() == before
        assert isinstance(await claim(ledger, *reserved, seen=(stands, Seen(SEEN, Decimal("2.0")))), Claim)
        assert len(store.rows()) == len({"stub/t.seen", *(one.counter for one in reserved)})

    with_ledger(store, test)


def test_a_counter_that_fell_or_whose_window_turned_does_not_stand_where_it_was_seen(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        taken = await claims(ledger, wants("stub/t.seen", window=60, holder="s", amount=2))
        clock.now += 60
        assert await claim(ledger, wants(), seen=(Seen(SEEN, 2),)) == Moved()
        clock.now -= 60
        await ledger.give_back(taken.entries)
        assert await claim(ledger, wants(), seen=(Seen(SEEN, 2),)) == Moved()

    with_ledger(store, test)


def test_without_a_limit_it_only_counts(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        for total in (10**30, 2 * 10**30):
            assert (await claims(ledger, wants(amount=10**30, limit=None))).totals == (total,)

    with_ledger(store, test)


@pytest.mark.parametrize(("limit", "exclusive"), [(-1, False), (0, True), (Decimal("-0.5"), False)])
def test_a_limit_that_nothing_can_meet_lets_nothing_through(store: Store, limit: Amount, exclusive: bool) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert await position(ledger, wants(amount=0, limit=limit, exclusive=exclusive)) == 0

    with_ledger(store, test)


def test_a_claim_that_does_not_fit_in_one_counter_takes_nothing_from_any(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert await position(ledger, wants("a"), wants("b"), wants("c", limit=0), wants("d")) == 2
        assert store.rows() == []
        await claims(ledger, wants("a", limit=1), wants("b", limit=1))
        assert await position(ledger, wants("c"), wants("a", limit=1)) == 1
        assert [(row[0], row[4]) for row in store.rows()] == [("a", 1), ("b", 1)]

    with_ledger(store, test)


def test_the_first_that_is_exhausted_is_named(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await claims(ledger, wants("a", limit=1), wants("b", limit=1))
        assert await position(ledger, wants("free"), wants("b", limit=1), wants("a", limit=1)) == 1
        assert await position(ledger, wants("a", limit=1), wants("b", limit=1)) == 0

    with_ledger(store, test)


def test_a_claim_of_nothing_is_a_claim(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert await claim(ledger) == Claim((), ())

    with_ledger(store, test)


def test_two_limits_on_one_counter_both_hold_and_count_on_one_another(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert (await claims(ledger, wants(limit=5), wants(limit=3))).totals == (1, 2)
        assert await position(ledger, wants(limit=5), wants(limit=3)) == 1
        assert (await claims(ledger, wants(limit=3))).totals == (3,)

    with_ledger(store, test)


def test_holders_and_windows_and_counters_are_counted_apart(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        for apart in (
            wants("a"), wants("b"), wants("a", holder="s"), wants("a", holder="t"), wants("a", window=60),
            wants("a|s"), wants("a%7Cs"), wants("a%7Cs", holder="|"), wants("a", holder="s|"), wants("é\n\0"),
        ):  # fmt: skip
            assert (await claims(ledger, apart)).totals == (1,)

    with_ledger(store, test)


SUMS: list[tuple[list[Amount], Amount]] = [
    ([Decimal("0.1")] * 3, Decimal("0.3")),
    ([Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
    ([Decimal("1e-30")] * 3, Decimal("3e-30")),
    ([2**53, 1], 2**53 + 1),
    ([2**64, 2**64], 2**65),
    ([10**33 + 1, Decimal("1e-30")], 10**33 + 1),
    ([Decimal("9" * 34) * 1, Decimal("1e30")], 10**34 - 1 + 10**30),
    ([Decimal("1e30"), Decimal("1.234567890123456789012345678901234e-30")], 10**30),
    ([Decimal("9.999999999999999999999999999999999e30")] * 3, Decimal("2.9999999999999999999999999999999997e31")),
    ([Decimal("1.234567890123456789012345678901234e-30"), 1], 2),
    ([0, 0, 0], 0),
]


@pytest.mark.parametrize(("amounts", "limit"), SUMS)
def test_totals_are_exact_whatever_their_size(store: Store, amounts: list[Amount], limit: Amount) -> None:
    total = Decimal(0)
    for amount in amounts:
        total = EXACT.add(total, Decimal(amount))

    async def test(ledger: Ledger, _: Clock) -> None:
        *before, last = amounts
        for amount in before:
            await claims(ledger, wants(amount=amount, limit=limit))
        if total > limit:
            assert await position(ledger, wants(amount=last, limit=limit)) == 0
            return
        assert (await claims(ledger, wants(amount=last, limit=limit))).totals == (total,)
        if total == limit:
            assert await position(ledger, wants(amount=Decimal("1e-30"), limit=limit)) == 0

    with_ledger(store, test)


def test_totals_are_looked_up_without_taking_anything(store: Store) -> None:
    counters = (Counter("a", "", DAY), Counter("a", "s", DAY), Counter("b", "", 60), Counter("a", "", DAY))

    async def test(ledger: Ledger, clock: Clock) -> None:
        assert await ledger.totals(counters) == (0, 0, 0, 0)
        await claims(ledger, wants("a", amount=2), wants("b", amount=Decimal("0.5"), window=60))
        assert await ledger.totals(counters) == (2, 0, Decimal("0.5"), 2)
        clock.now += 60
        assert await ledger.totals(counters) == (2, 0, 0, 2)
        assert await ledger.totals(()) == ()

    with_ledger(store, test)


def test_what_is_claimed_stands_after_the_ledger_is_opened_again(store: Store) -> None:
    async def take(ledger: Ledger, _: Clock) -> None:
        await claims(ledger, wants(amount=Decimal("0.1"), limit=1), wants("b", amount=2**70, limit=2**71))

    async def look(ledger: Ledger, _: Clock) -> None:
        totals = await ledger.totals((Counter("stub/t.n", "", DAY), Counter("b", "", DAY)))
        assert totals == (Decimal("0.1"), 2**70)

    with_ledger(store, take)
    with_ledger(store, look)


# Windows.


@pytest.mark.parametrize("window", [1, 7, 60, 90, 3600, DAY, 366 * DAY])
@pytest.mark.parametrize("now", [0.0, 0.5, NOON, NOON + 0.999999, 4_102_444_800.0])
def test_a_window_begins_at_the_last_multiple_of_its_length_since_the_epoch(now: float, window: int) -> None:
    start = window_start(now, window)
    assert start % window == 0
    assert start <= now < start + window


@pytest.mark.parametrize("window", [7, 60, 3600, DAY])
def test_a_limit_is_full_to_the_end_of_its_window_and_empty_from_then_on(store: Store, window: int) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        end = window_start(NOON, window) + window
        clock.now = end - 0.001
        await claims(ledger, wants(limit=1, window=window))
        assert await claim(ledger, wants(limit=1, window=window)) == Exhausted(0, 1)
        clock.now = end
        await claims(ledger, wants(limit=1, window=window))
        assert await claim(ledger, wants(limit=1, window=window)) == Exhausted(0, window)

    with_ledger(store, test)


@pytest.mark.parametrize("left", [1.2, 24.4, 24.5, 24.9, 25])
def test_who_waits_as_long_as_told_finds_the_window_over(store: Store, left: float) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        clock.now = NOON + 60 - left
        await claims(ledger, wants(limit=1, window=60))
        refused = await claim(ledger, wants(limit=1, window=60))
        assert isinstance(refused, Exhausted)
        clock.now += refused.seconds
        await claims(ledger, wants(limit=1, window=60))

    with_ledger(store, test)


def test_one_claim_may_fall_into_several_windows(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        clock.now = NOON + 61
        taken = await claims(ledger, wants(window=60), wants(window=7), wants(window=3600), wants(window=DAY))
        starts = [NOON + 60, (NOON + 61) // 7 * 7, NOON, NOON - DAY // 2]
        assert [entry.start for entry in taken.entries] == starts
        assert sorted(row[3] for row in store.rows()) == sorted(starts)

    with_ledger(store, test)


# Giving back.


def test_what_is_given_back_can_be_claimed_again(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        taken = await claims(ledger, wants(limit=1), wants("b", amount=Decimal("0.5"), limit=1))
        await ledger.give_back(taken.entries)
        assert (await claims(ledger, wants(limit=1), wants("b", amount=1, limit=1))).totals == (1, 1)

    with_ledger(store, test)


def test_what_is_given_back_is_exact(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        await claims(ledger, wants(amount=10**30, limit=None))
        taken = await claims(ledger, wants(amount=Decimal("1e-30"), limit=None), wants(amount=7, limit=None))
        await ledger.give_back(taken.entries)
        assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (10**30,)

    with_ledger(store, test)


def test_only_the_entries_that_are_given_back_come_back(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        taken = await claims(ledger, wants("a", limit=1), wants("b", limit=1))
        await ledger.give_back(taken.entries[1:])
        assert await position(ledger, wants("b", limit=1), wants("a", limit=1)) == 1

    with_ledger(store, test)


def test_what_is_given_back_lands_in_its_own_window_never_in_a_later_one(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        early = await claims(ledger, wants(limit=1, window=60))
        clock.now = NOON + 60
        await claims(ledger, wants(limit=1, window=60))
        await ledger.give_back(early.entries)
        assert await position(ledger, wants(limit=1, window=60)) == 0
        assert [row[3:] for row in store.rows()] == [(NOON, 0), (NOON + 60, 1)]

    with_ledger(store, test)


def test_giving_back_twice_never_makes_a_total_negative(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        taken = await claims(ledger, wants(limit=1))
        await ledger.give_back(taken.entries * 3)
        await claims(ledger, wants(limit=1))
        assert await position(ledger, wants(limit=1)) == 0

    with_ledger(store, test)
