"""Old windows leave the SQLite store when they are surely over, and never by a clock that may be wrong."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import Exhausted
from sidecar.ledger.sqlite import SWEEP, SqliteLedger
from sidecar.ledger.sweep import KEPT
from sidecar.ledger.values import window_start
from tests.ledger.stores import DAY, NOON, Clock, SqliteStore, claim, claims, wants
from tests.support.fuzzing import examples


class Time:
    """What the clock says, and how long this machine has really run; a test sets either."""

    def __init__(self) -> None:
        self.clock, self.lived = Clock(), Clock(1000.0)

    def pass_(self, seconds: float) -> None:
        """Let time pass for both."""
        self.clock.now += seconds
        self.lived.now += seconds


@asynccontextmanager
async def opened(path: Path, time: Time) -> AsyncIterator[SqliteLedger]:
    """A ledger with both clocks."""
    ledger = SqliteLedger(path, time.clock, time.lived)
    try:
        yield ledger
    finally:
        await ledger.close()


def holders(path: Path) -> list[str]:
    """Whose counters stand in the file."""
    return sorted(row[1] for row in SqliteStore(path).rows())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters.db"


@pytest.mark.parametrize("days", [4, 400, -4, -4000])
def test_a_clock_that_was_wrong_for_a_while_forgets_nothing(path: Path, days: int) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            await claims(ledger, wants(limit=1))
            time.clock.now += days * DAY
            for _ in range(5):
                await claims(ledger, wants("stub/another", limit=None))
                time.pass_(SWEEP)
        async with opened(path, time):
            pass
        time.clock.now -= days * DAY
        async with opened(path, time) as ledger:
            assert isinstance(await claim(ledger, wants(limit=1)), Exhausted)

    asyncio.run(test())


def test_windows_of_holders_that_never_come_back_are_removed_when_they_were_lived_through(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            await claims(ledger, wants(window=60, holder="gone"), wants(window=DAY, holder="day"))
            for _ in range(3):
                time.pass_(SWEEP)
                await claims(ledger, wants(window=DAY, holder="day", limit=None))
            assert holders(path) == ["day"]

    asyncio.run(test())


def test_a_window_is_there_for_a_late_refund(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            taken = await claims(ledger, wants(window=3600, limit=1))
            time.pass_(3600 * KEPT)
            await claims(ledger, wants("stub/another"))
            await ledger.give_back(taken.entries)
            assert [row[4] for row in SqliteStore(path).rows() if row[2] == 3600] == [0]

    asyncio.run(test())


def test_giving_back_into_a_window_that_is_gone_does_nothing(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            early = await claims(ledger, wants(window=60))
            for _ in range(3):
                time.pass_(SWEEP)
                await claims(ledger, wants(window=60))
            before = SqliteStore(path).rows()
            assert NOON not in {row[3] for row in before}
            await ledger.give_back(early.entries)
            assert SqliteStore(path).rows() == before

    asyncio.run(test())


def test_lives_of_processes_that_come_and_go_add_up(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            await claims(ledger, wants(window=DAY, holder="gone"))
        time.clock.now += 10 * DAY
        for _ in range(2 * KEPT * 24):
            async with opened(path, time) as ledger:
                time.pass_(3600)
                await claims(ledger, wants(window=3600, holder="here", limit=None))
        assert "gone" not in holders(path)

    asyncio.run(test())


def test_two_who_live_at_the_same_time_do_not_count_twice(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as one, opened(path, time) as other:
            await claims(one, wants(window=DAY, holder="day"))
            time.clock.now += 10 * DAY
            for _ in range(KEPT * 24 - 1):
                time.pass_(3600)
                for ledger in (one, other):
                    await claims(ledger, wants(window=60, holder="here", limit=None))
            assert "day" in holders(path)
            for _ in range(2):
                time.pass_(3600)
                await claims(one, wants(window=60, holder="here", limit=None))
            assert "day" not in holders(path)

    asyncio.run(test())


def test_what_one_has_just_marked_is_not_old_by_the_idle_years_of_another(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as idle:
            time.pass_(400 * DAY)
            async with opened(path, time) as busy:
                await claims(busy, wants(limit=1, window=3600, sliding=True))
                for ledger in (busy, idle, busy):  # each of them sweeps
                    time.pass_(SWEEP)
                    await claims(ledger, wants("stub/another", limit=None))
                assert isinstance(await claim(busy, wants(limit=1, window=3600, sliding=True)), Exhausted)

    asyncio.run(test())


def test_who_was_idle_for_years_carries_on_when_the_others_are_gone(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as idle:
            time.pass_(400 * DAY)
            async with opened(path, time) as busy:
                time.pass_(SWEEP)
                await claims(busy, wants(window=60, holder="gone"))
            for _ in range(4):
                time.pass_(SWEEP)
                await claims(idle, wants(window=DAY, holder="day", limit=None))
            assert "gone" not in holders(path)

    asyncio.run(test())


def test_old_windows_are_removed_though_all_claims_are_on_one_counter(path: Path) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            await claims(ledger, wants(window=60, holder="gone"))
            for _ in range(3):
                await claims(ledger, wants(window=DAY, limit=None))
                time.pass_(SWEEP)
            await claims(ledger, wants(window=DAY, limit=None))
            assert holders(path) == [""]

    asyncio.run(test())


STEPS = st.one_of(
    st.tuples(st.just("pass"), st.sampled_from([1, 59, SWEEP, 3600, DAY])),
    st.tuples(st.just("set"), st.sampled_from([-400 * DAY, -DAY, -3600, 3600, DAY, 4 * DAY, 400 * DAY])),
    st.tuples(st.just("claim"), st.sampled_from([60, 3600, DAY])),
    st.tuples(st.just("open"), st.just(0)),
)


@pytest.mark.fuzz
@given(steps=st.lists(STEPS, max_size=25))
@examples(60)
def test_whatever_the_clock_did_a_window_that_it_really_is_is_never_forgotten(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, float]]
) -> None:
    path = tmp_path_factory.mktemp("sweep") / "counters.db"

    async def test() -> None:
        time, true, taken = Time(), Clock(), dict[tuple[int, int], int]()
        ledger = SqliteLedger(path, time.clock, time.lived)
        try:
            for step, number in steps:
                match step:
                    case "pass":
                        time.pass_(number)
                        true.now += number
                    case "set":
                        time.clock.now = true.now + number
                    case "open":
                        await ledger.close()
                        ledger = SqliteLedger(path, time.clock, time.lived)
                    case _:
                        # A call while the clock is wrong, then one while it is right.
                        await claims(ledger, wants(window=int(number), holder="wrong", limit=None))
                        wrong, time.clock.now = time.clock.now, true.now
                        total = (await claims(ledger, wants(window=int(number), limit=None))).totals[0]
                        time.clock.now = wrong
                        key = int(number), window_start(true.now, int(number))
                        taken[key] = taken.get(key, 0) + 1
                        assert total == taken[key]
        finally:
            await ledger.close()

    asyncio.run(test())


@pytest.mark.parametrize("lived", ["'x'", "CAST(x'ff' AS TEXT)", "x'31'", "1e300", "1.5", "-1", "9223372036854775807"])
def test_a_life_that_is_no_number_of_seconds_is_a_store_that_cannot_be_used(path: Path, lived: str) -> None:
    async def test() -> None:
        time = Time()
        async with opened(path, time) as ledger:
            await claims(ledger, wants())
            with closing(sqlite3.connect(path)) as db, db:
                db.execute(f"UPDATE lived SET seconds = {lived}")
            time.pass_(SWEEP)
            for _ in range(2):
                with pytest.raises(StoreUnavailable, match="no number of seconds"):
                    ledger.claim_at_once([(wants(),)])
                with pytest.raises(StoreUnavailable, match="no number of seconds"):
                    await ledger.claim((wants(),))
        with pytest.raises(StoreUnavailable, match=r"counters\.db .*no number of seconds"):
            SqliteLedger(path, time.clock, time.lived)

    asyncio.run(test())
