"""Sliding windows: any span as long as the window, in slices of a sixtieth, whatever clocks do."""

from __future__ import annotations

import asyncio
import itertools
import math
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import Claim, Exhausted, Ledger, Moved
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.scripts import KEPT_SLICES
from sidecar.ledger.sliding import SLICES, seconds_until_fallen, slice_of
from sidecar.ledger.sqlite import SWEEP, SqliteLedger
from sidecar.ledger.sweep import KEPT
from sidecar.ledger.values import Counter, Reservation, Seen
from tests.ledger.stores import (
    DAY,
    NOON,
    Clock,
    RedisStore,
    SqliteStore,
    Store,
    claim,
    claims,
    ledger_in,
    position,
    wants,
)
from tests.support.peer import SECONDS
from tests.support.redis_server import RedisServer

MINUTE = Counter("stub/t.n", "", 60, sliding=True)


def with_ledger(store: Store, test: Callable[[Ledger, Clock], Coroutine[Any, Any, None]]) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        async with ledger_in(store, clock) as ledger:
            await test(ledger, clock)

    asyncio.run(run())


def minute(**changes: Any) -> Reservation:
    """A reservation in a minute that slides."""
    return wants(**({"window": 60, "sliding": True} | changes))


# Slices.

WINDOWS = st.one_of(st.integers(1, 90), st.sampled_from([3600, DAY, 366 * DAY]))


@st.composite
def times(draw: st.DrawFn) -> tuple[float, int]:
    """A time, often at the very edge of a slice, and a window."""
    window = draw(WINDOWS)
    edge = draw(st.integers(1, 2**32 * SLICES // window)) * window / SLICES
    return draw(st.sampled_from([edge, math.nextafter(edge, 0), math.nextafter(edge, 2**33)])), window


@given(time=times())
def test_a_slice_is_a_sixtieth_of_the_window_without_rounding(time: tuple[float, int]) -> None:
    now, window = time
    number = slice_of(now, window)
    assert Fraction(number * window, SLICES) <= Fraction(now) < Fraction((number + 1) * window, SLICES)


@given(time=times(), back=st.integers(-5, SLICES))
def test_a_slice_has_fallen_out_when_it_is_said_and_no_second_before(time: tuple[float, int], back: int) -> None:
    now, window = time
    number = slice_of(now, window) - back
    seconds, falls = seconds_until_fallen(number, window, now), Fraction((number + SLICES + 1) * window, SLICES)
    assert seconds >= 1
    assert Fraction(now) + seconds >= falls
    assert seconds == 1 or Fraction(now) + seconds - 1 < falls


# Counting.


def test_the_turn_of_a_minute_opens_nothing(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        clock.now = NOON + 59
        for _ in range(3):
            await claims(ledger, minute())
        for clock.now in (NOON + 60, NOON + 90, NOON + 119):
            assert await position(ledger, minute()) == 0
        clock.now = NOON + 120
        assert (await claims(ledger, minute())).totals == (1,)

    with_ledger(store, test)


def test_what_is_taken_falls_out_slice_by_slice(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for clock.now, total in ((NOON, 1), (NOON + 20.5, 2), (NOON + 40, 3)):
            assert (await claims(ledger, minute())).totals == (total,)
        for seconds, left in ((60.9, 3), (61, 2), (80.9, 2), (81, 1), (100.9, 1), (101, 0)):
            clock.now = NOON + seconds
            assert await ledger.totals((MINUTE,)) == (left,)

    with_ledger(store, test)


@pytest.mark.parametrize(("amount", "seconds"), [(1, 31), (2, 31), (3, 41), (4, 41), (5, 51), (6, 61), (7, 61)])
def test_a_refusal_says_when_enough_has_fallen_out(store: Store, amount: int, seconds: int) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for clock.now, taken in ((NOON, 2), (NOON + 10, 2), (NOON + 20, 1), (NOON + 30, 1)):
            await claims(ledger, minute(amount=taken, limit=6))
        assert await claim(ledger, minute(amount=amount, limit=6)) == Exhausted(0, seconds)

    with_ledger(store, test)


def test_what_never_fits_waits_for_one_window_where_nothing_stands(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        assert await claim(ledger, minute(amount=7, limit=6)) == Exhausted(0, 60)
        assert await claim(ledger, minute(amount=0, limit=-1)) == Exhausted(0, 60)
        await claims(ledger, minute(amount=0))
        assert await claim(ledger, minute(amount=7, limit=6)) == Exhausted(0, 60)
        await claims(ledger, minute(amount=1))
        assert await claim(ledger, minute(amount=7, limit=6)) == Exhausted(0, 61)

    with_ledger(store, test)


def test_what_one_call_takes_itself_does_not_fall_out_for_it(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for clock.now, taken in ((NOON, 2), (NOON + 10, 2)):
            await claims(ledger, minute(amount=taken, limit=None))
        refused = await claim(ledger, minute(amount=1, limit=5), minute(amount=2, limit=5))
        assert refused == Exhausted(1, 51)

    with_ledger(store, test)


def test_what_claims_of_one_batch_take_falls_out_for_those_behind_them(tmp_path: Path) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await claims(ledger, minute(amount=1))
        clock.now += 10
        taken = ledger.claim_at_once([(minute(amount=2),), (minute(amount=1),), (minute(amount=2),)])
        assert taken is not None
        assert [one.seconds for one in taken if isinstance(one, Exhausted)] == [51, 61]

    with_ledger(SqliteStore(tmp_path / "counters.db"), test)


def test_an_exclusive_limit_is_never_reached(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for clock.now in (NOON, NOON + 10):
            await claims(ledger, minute(limit=3, exclusive=True))
        assert await claim(ledger, minute(limit=3, exclusive=True)) == Exhausted(0, 51)
        assert await claim(ledger, minute(limit=2, exclusive=True)) == Exhausted(0, 61)

    with_ledger(store, test)


@pytest.mark.parametrize(
    ("amounts", "total"),
    [
        ([Decimal("0.1")] * 10, 1),
        ([10**33, Decimal("1e-30"), 10**33], Decimal(f"2{'0' * 33}.{'0' * 29}1")),
        ([2**64, 1, 2**64], 2**65 + 1),
        ([Decimal("9.999999999999999999999999999999999e30")] * 3, Decimal("2.9999999999999999999999999999999997e31")),
    ],
)  # fmt: skip
def test_slices_add_up_exactly(store: Store, amounts: list[Decimal], total: Decimal) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        for amount in amounts:
            clock.now += 5
            taken = await claims(ledger, minute(amount=amount, limit=total))
        assert taken.totals == (total,)
        assert await ledger.totals((MINUTE,)) == (total,)
        assert await position(ledger, minute(amount=Decimal("1e-30"), limit=total)) == 0

    with_ledger(store, test)


def test_limits_of_one_call_that_slide_and_that_do_not_are_taken_together_or_not_at_all(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        slides, stays = minute(limit=2), wants("stub/t.fixed", limit=3)
        assert (await claims(ledger, slides, stays)).totals == (1, 1)
        assert (await claims(ledger, stays, slides)).totals == (2, 2)
        before = store.rows()
        assert await position(ledger, stays, slides) == 1
        assert await position(ledger, slides) == 0
        assert store.rows() == before
        clock.now += 61
        assert (await claims(ledger, stays, slides)).totals == (3, 1)
        assert await position(ledger, slides, stays) == 1
        assert await ledger.totals((MINUTE,)) == (1,)

    with_ledger(store, test)


def test_a_counter_that_slides_and_one_of_its_name_that_does_not_are_counted_apart(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        apart = (minute(), wants(window=60), minute(window=61), minute(holder="s"), minute(counter="stub/t.m"))
        for total, one in itertools.product((1, 2, 3), apart):
            assert (await claims(ledger, one)).totals == (total,)
        assert await ledger.totals((MINUTE, Counter("stub/t.n", "", 60))) == (3, 3)

    with_ledger(store, test)


def test_a_total_that_fell_does_not_stand_where_it_was_seen(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await claims(ledger, minute(amount=2))
        assert isinstance(await claim(ledger, wants(), seen=(Seen(MINUTE, 2),)), Claim)
        assert await claim(ledger, wants(), seen=(Seen(MINUTE, 0),)) == Moved()
        clock.now += 61
        assert await claim(ledger, wants(), seen=(Seen(MINUTE, 2),)) == Moved()
        assert isinstance(await claim(ledger, wants(), seen=(Seen(MINUTE, 0),)), Claim)

    with_ledger(store, test)


# Giving back.


def test_what_is_given_back_comes_back_to_its_own_slice(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        early = await claims(ledger, minute(amount=2))
        clock.now += 30
        await claims(ledger, minute())
        await ledger.give_back(early.entries)
        assert [row[3:] for row in store.rows()] == [(NOON, 0), (NOON + 30, 1)]
        assert (await claims(ledger, minute(amount=2))).totals == (3,)
        clock.now += 31
        await ledger.give_back(early.entries * 2)
        assert await ledger.totals((MINUTE,)) == (3,)

    with_ledger(store, test)


def test_what_fell_out_and_is_given_back_opens_nothing(store: Store) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        early = await claims(ledger, minute(amount=3))
        clock.now += 61
        await claims(ledger, minute(amount=3))
        await ledger.give_back(early.entries)
        assert await position(ledger, minute()) == 0

    with_ledger(store, test)


def test_two_entries_of_one_slice_are_given_back_together(store: Store) -> None:
    async def test(ledger: Ledger, _: Clock) -> None:
        taken = await claims(ledger, minute(limit=9), minute(limit=9, amount=2), wants("stub/t.fixed"), minute(limit=9))
        await ledger.give_back(taken.entries[1:])
        assert await ledger.totals((MINUTE, Counter("stub/t.fixed", "", DAY))) == (1, 0)

    with_ledger(store, test)


# Clocks.


@pytest.mark.parametrize("seconds", [1, 30, 60, 61, 3600, 10 * DAY])
def test_a_clock_that_is_set_back_opens_nothing(store: Store, seconds: int) -> None:
    async def test(ledger: Ledger, clock: Clock) -> None:
        await claims(ledger, minute(amount=2))
        clock.now -= seconds
        await claims(ledger, minute())
        assert await claim(ledger, minute()) == Exhausted(0, 61)
        clock.now += 61
        assert await ledger.totals((MINUTE,)) == (2,)
        clock.now = NOON + 61
        assert await ledger.totals((MINUTE,)) == (0,)

    with_ledger(store, test)


# What stays, and for how long.


def slices(path: Path) -> list[int]:
    """The slices in a file."""
    with closing(sqlite3.connect(path)) as db:
        return [number for (number,) in db.execute("SELECT slice FROM slices ORDER BY 1")]


def test_slices_that_nobody_added_to_are_removed_when_they_were_lived_through(tmp_path: Path) -> None:
    path = tmp_path / "counters.db"

    async def test() -> None:
        clock, lived = Clock(), Clock(1000.0)
        ledger = SqliteLedger(path, clock, lived)
        early = await claims(ledger, minute(), wants(window=3600, sliding=True, holder="gone"))
        for _ in range(2):
            for time in (clock, lived):
                time.now += SWEEP
            await claims(ledger, minute(limit=None))
        assert slices(path) == sorted([slice_of(NOON, 3600), NOON + SWEEP, NOON + 2 * SWEEP])
        before = slices(path)
        await ledger.give_back(early.entries[:1])
        assert slices(path) == before
        lived.now += 3600 * KEPT + SWEEP
        await claims(ledger, minute(limit=None))
        assert slice_of(NOON, 3600) not in slices(path)
        # What is added to in the meantime stays: no clock has to move for that.
        for _ in range(5):
            lived.now += SWEEP
            assert (await claims(ledger, minute(limit=None))).totals[0] >= 2
        await ledger.close()

    asyncio.run(test())


@pytest.mark.parametrize("days", [4, 400, -4, -4000])
def test_a_clock_that_was_wrong_for_a_while_forgets_nothing(tmp_path: Path, days: int) -> None:
    async def test() -> None:
        clock, lived = Clock(), Clock(1000.0)
        ledger = SqliteLedger(tmp_path / "counters.db", clock, lived)
        await claims(ledger, wants(limit=1, sliding=True))
        clock.now += days * DAY
        for _ in range(5):
            await claims(ledger, wants("stub/another", limit=None, sliding=True))
            for time in (clock, lived):
                time.now += SWEEP
        clock.now -= days * DAY
        assert isinstance(await claim(ledger, wants(limit=1, sliding=True)), Exhausted)
        await ledger.close()

    asyncio.run(test())


def test_what_was_counted_by_a_clock_far_ahead_is_forgotten_when_it_was_lived_through(tmp_path: Path) -> None:
    async def test() -> None:
        clock, lived = Clock(NOON + 400 * DAY), Clock(1000.0)
        ledger = SqliteLedger(tmp_path / "counters.db", clock, lived)
        await claims(ledger, minute())
        clock.now = NOON
        for _ in range(2):
            assert await ledger.totals((MINUTE,)) == (1,)
            lived.now += SWEEP
            await claims(ledger, wants())
        assert await ledger.totals((MINUTE,)) == (0,)
        await ledger.close()

    asyncio.run(test())


@pytest.mark.parametrize(("window", "kept"), [(60, 168 * 60), (DAY, 7 * DAY), (30 * DAY, 60 * DAY)])
def test_in_redis_a_counter_expires_some_windows_after_it_was_last_taken_from(
    redis_server: RedisServer, request: pytest.FixtureRequest, window: int, kept: int
) -> None:
    store = RedisStore(redis_server.dsn, f"{request.node.name}:")

    async def test(ledger: Ledger, clock: Clock) -> None:
        taken = await claims(ledger, minute(window=window))
        clock.now += 1
        await claims(ledger, minute(window=window))
        await ledger.give_back(taken.entries)

    with_ledger(store, test)
    with redis_server.client() as client:
        (key,) = store.keys(client)
        assert key == f"{store.prefix}stub/t.n||{window}|sliding"
        left = client.ttl(key)
    assert kept + window - SECONDS < left <= kept + window * 61 / 60 + 1


def test_in_redis_old_slices_leave_by_their_number_so_that_a_clock_far_ahead_removes_none_of_now(
    redis_server: RedisServer,
) -> None:
    store = RedisStore(redis_server.dsn, "many slices:")

    async def test(ledger: Ledger, clock: Clock) -> None:
        for clock.now in range(NOON, NOON + KEPT_SLICES + 100):
            await claims(ledger, minute(limit=None))
        numbers = [row[3] for row in store.rows()]
        assert numbers == list(range(NOON + 100 - SLICES - 1, NOON + KEPT_SLICES + 100))
        clock.now += 400 * DAY
        for _ in range(9):
            clock.now += 1
            await claims(ledger, minute(limit=None))
        clock.now -= 400 * DAY + 9
        assert await ledger.totals((MINUTE,)) == (SLICES + 1 + 9,)
        # Nor does one that is behind.
        clock.now -= KEPT_SLICES - 200
        assert (await claims(ledger, minute(limit=None))).totals == (KEPT_SLICES - 200 + SLICES + 1 + 9 + 1,)

    with_ledger(store, test)


# Damage.


@pytest.mark.parametrize(
    "damage",
    ["total = 'many'", "total = '-1'", "total = '1e3'", "total = x'31'", "slice = 'x'", "slice = 1e300"],
)
def test_a_slice_that_is_damaged_lets_nothing_through(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "counters.db"

    async def test() -> None:
        clock = Clock()
        ledger = SqliteLedger(path, clock)
        await claims(ledger, minute(limit=None))
        clock.now += 1
        await claims(ledger, minute(limit=None))
        with closing(sqlite3.connect(path)) as db, db:
            db.execute(f"UPDATE slices SET {damage} WHERE slice = {NOON}")
        with pytest.raises(StoreUnavailable, match="no number"):
            await claim(ledger, minute(limit=None))
        with pytest.raises(StoreUnavailable, match="no number"):
            await ledger.totals((MINUTE,))
        taken = ledger.claim_at_once([(minute(),), (wants(),), (minute(holder="s"),)])
        assert taken is not None
        assert [type(one) for one in taken] == [StoreUnavailable, Claim, Claim]
        await ledger.close()

    asyncio.run(test())


@pytest.mark.parametrize("member", ["many", f"{NOON}:-1", f"{NOON}:1e3", f"{NOON}:", f"{NOON}:{'9' * 5000}"])
def test_in_redis_a_slice_that_is_damaged_lets_nothing_through(
    redis_server: RedisServer, request: pytest.FixtureRequest, member: str
) -> None:
    store = RedisStore(redis_server.dsn, f"{request.node.name[:80]}:")

    async def test(ledger: Ledger, _: Clock) -> None:
        assert isinstance(ledger, RedisLedger)
        taken = await claims(ledger, minute(), wants("stub/another"))
        with redis_server.client() as client:
            (key,) = [key for key in store.keys(client) if key.endswith("sliding")]
            client.zremrangebyrank(key, 0, -1)
            client.zadd(key, {member: NOON})
            if len(member) > 1000:
                assert await position(ledger, wants("stub/another"), minute()) == 1
                return
            for wrong in (
                ledger.claim((wants("stub/another"), minute())), ledger.totals((MINUTE,)),
                ledger.give_back(taken.entries), ledger.claim((), (Seen(MINUTE, 1),)),
            ):  # fmt: skip
                with pytest.raises(StoreUnavailable, match="no number"):
                    await wrong
            assert client.zrange(key, 0, -1) == [member]
            assert await ledger.totals((Counter("stub/another", "", DAY),)) == (1,)

    with_ledger(store, test)


def test_in_redis_a_late_refund_finds_its_slice_or_none(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.dsn, "late:")

    async def test(ledger: Ledger, clock: Clock) -> None:
        early = await claims(ledger, minute(limit=None))
        for clock.now in range(NOON + 1, NOON + KEPT_SLICES + 100):
            await claims(ledger, minute(limit=None))
        before = store.rows()
        await ledger.give_back(early.entries)
        assert store.rows() == before

    with_ledger(store, test)
