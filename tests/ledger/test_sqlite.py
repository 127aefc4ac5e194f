"""The ledger in SQLite: exact totals, all or nothing, each window by itself, and an honest answer when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sqlite
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Claim, Exhausted, Reservation, window_start
from tests.ledger import DAY, NOON, Clock, ledger_at, wants

Test = Callable[[SqliteLedger, Clock], Coroutine[Any, Any, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters.db"


def with_ledger(path: Path, test: Test) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        async with ledger_at(path, clock) as ledger:
            await test(ledger, clock)

    asyncio.run(run())


def rows(path: Path) -> list[tuple[str, str, int, int, str]]:
    """What stands in the file."""
    db = sqlite3.connect(path)
    try:
        return db.execute("SELECT * FROM counters ORDER BY counter, holder, window, start").fetchall()
    finally:
        db.close()


def claims(ledger: SqliteLedger, *reservations: Reservation) -> Claim:
    """A claim that must get through."""
    claimed = ledger.claim_at_once(reservations)
    assert isinstance(claimed, Claim), claimed
    return claimed


def position(ledger: SqliteLedger, *reservations: Reservation) -> int:
    """Which reservation refuses a claim."""
    claimed = ledger.claim_at_once(reservations)
    assert isinstance(claimed, Exhausted), claimed
    return claimed.position


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Somebody else holds the file for writing."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


# Counting.


def test_exactly_as_many_as_the_limit_get_through(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        assert [claims(ledger, wants()).left for _ in range(3)] == [(2,), (1,), (0,)]
        assert ledger.claim_at_once((wants(),)) == Exhausted(0, DAY // 2)

    with_ledger(path, test)


def test_a_claim_that_does_not_fit_in_one_counter_takes_nothing_from_any(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        assert position(ledger, wants("a"), wants("b"), wants("c", limit=0), wants("d")) == 2
        assert rows(path) == []
        claims(ledger, wants("a", limit=1), wants("b", limit=1))
        assert position(ledger, wants("c"), wants("a", limit=1)) == 1
        assert [(row[0], row[4]) for row in rows(path)] == [("a", "1"), ("b", "1")]

    with_ledger(path, test)


def test_the_first_that_is_exhausted_is_named(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claims(ledger, wants("a", limit=1), wants("b", limit=1))
        assert position(ledger, wants("free"), wants("b", limit=1), wants("a", limit=1)) == 1
        assert position(ledger, wants("a", limit=1), wants("b", limit=1)) == 0

    with_ledger(path, test)


def test_a_claim_of_nothing_is_a_claim(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        assert ledger.claim_at_once(()) == Claim((), ())

    with_ledger(path, test)


def test_two_limits_on_one_counter_both_hold_and_count_on_one_another(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        assert claims(ledger, wants(limit=5), wants(limit=3)).left == (4, 1)
        assert position(ledger, wants(limit=5), wants(limit=3)) == 1
        assert claims(ledger, wants(limit=3)).left == (0,)

    with_ledger(path, test)


def test_holders_and_windows_and_counters_are_counted_apart(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        for reservation in (
            wants("a"),
            wants("b"),
            wants("a", holder="s"),
            wants("a", holder="t"),
            wants("a", window=60),
        ):
            assert claims(ledger, reservation).left == (2,)

    with_ledger(path, test)


EXACT: list[tuple[list[Amount], Amount]] = [
    ([Decimal("0.1")] * 3, Decimal("0.3")),
    ([Decimal("0.1"), Decimal("0.2")], Decimal("0.3")),
    ([Decimal("1e-30")] * 3, Decimal("3e-30")),
    ([2**53, 1], 2**53 + 1),
    ([2**64, 2**64], 2**65),
    ([10**33 + 1, Decimal("1e-30")], 10**33 + 1),
    ([Decimal("9" * 34) * 1, Decimal("1e30")], 10**34 - 1 + 10**30),
    ([Decimal("1e30"), Decimal("1e-30")], 10**30),
    ([0, 0, 0], 0),
]


@pytest.mark.parametrize(("amounts", "limit"), EXACT)
def test_totals_are_exact_whatever_their_size(path: Path, amounts: list[Amount], limit: Amount) -> None:
    tiny = Decimal("1e-30")
    total = sqlite._EXACT.create_decimal(0)
    for amount in amounts:
        total = sqlite._EXACT.add(total, Decimal(amount))
    fits = total <= Decimal(limit)

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        *before, last = amounts
        for amount in before:
            claims(ledger, wants(amount=amount, limit=limit))
        if not fits:
            assert position(ledger, wants(amount=last, limit=limit)) == 0
            return
        assert Decimal(claims(ledger, wants(amount=last, limit=limit)).left[0]) == sqlite._EXACT.subtract(
            Decimal(limit), total
        )
        if total == limit:
            assert position(ledger, wants(amount=tiny, limit=limit)) == 0

    with_ledger(path, test)


def test_what_is_claimed_stands_after_the_ledger_is_opened_again(path: Path) -> None:
    async def claim(ledger: SqliteLedger, _: Clock) -> None:
        claims(ledger, wants(amount=Decimal("0.1"), limit=1), wants("b", amount=2**70, limit=2**71))

    async def look(ledger: SqliteLedger, _: Clock) -> None:
        assert claims(ledger, wants(amount=0, limit=1), wants("b", amount=0, limit=2**71)).left == (
            Decimal("0.9"),
            2**70,
        )

    with_ledger(path, claim)
    with_ledger(path, look)


# Windows.


@pytest.mark.parametrize("window", [1, 7, 60, 90, 3600, DAY, 366 * DAY])
@pytest.mark.parametrize("now", [0.0, 0.5, NOON, NOON + 0.999999, 4_102_444_800.0])
def test_a_window_begins_at_the_last_multiple_of_its_length_since_the_epoch(now: float, window: int) -> None:
    start = window_start(now, window)
    assert start % window == 0
    assert start <= now < start + window


@pytest.mark.parametrize("window", [7, 60, 3600, DAY])
def test_a_limit_is_full_to_the_end_of_its_window_and_empty_from_then_on(path: Path, window: int) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        end = window_start(NOON, window) + window
        clock.now = end - 0.001
        claims(ledger, wants(limit=1, window=window))
        assert ledger.claim_at_once((wants(limit=1, window=window),)) == Exhausted(0, 1)
        clock.now = end
        claims(ledger, wants(limit=1, window=window))
        assert ledger.claim_at_once((wants(limit=1, window=window),)) == Exhausted(0, window)

    with_ledger(path, test)


def test_one_claim_may_fall_into_several_windows(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        clock.now = NOON + 61
        claim = claims(ledger, wants(window=60), wants(window=7), wants(window=3600), wants(window=DAY))
        starts = [NOON + 60, (NOON + 61) // 7 * 7, NOON, NOON - DAY // 2]
        assert [entry.start for entry in claim.entries] == starts

    with_ledger(path, test)


def test_old_windows_are_removed_when_a_new_one_begins(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        for minute in range(20):
            clock.now = NOON + 60 * minute
            claims(ledger, wants(window=60), wants(window=60, holder="s"))
        assert len(rows(path)) <= 2 * (sqlite.KEPT + 1)
        assert max(row[3] for row in rows(path)) == NOON + 60 * 19

    with_ledger(path, test)


def test_old_windows_of_every_counter_are_removed_at_the_start(path: Path) -> None:
    async def fill() -> None:
        async with ledger_at(path, Clock(NOON)) as ledger:
            for number in range(50):
                claims(ledger, wants(f"gone-{number}", window=60), wants(f"kept-{number}", window=DAY))
        async with ledger_at(path, Clock(NOON + 600)):
            assert {row[2] for row in rows(path)} == {DAY}
            assert len(rows(path)) == 50

    asyncio.run(fill())


# Giving back.


def test_what_is_given_back_can_be_claimed_again(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants(limit=1), wants("b", amount=Decimal("0.5"), limit=1))
        await ledger.give_back(claim.entries)
        assert claims(ledger, wants(limit=1), wants("b", amount=1, limit=1)).left == (0, 0)

    with_ledger(path, test)


def test_only_the_entries_that_are_given_back_come_back(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants("a", limit=1), wants("b", limit=1))
        await ledger.give_back(claim.entries[1:])
        assert position(ledger, wants("b", limit=1), wants("a", limit=1)) == 1

    with_ledger(path, test)


def test_what_is_given_back_lands_in_its_own_window_never_in_a_later_one(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        early = claims(ledger, wants(limit=1, window=60))
        clock.now = NOON + 60
        claims(ledger, wants(limit=1, window=60))
        await ledger.give_back(early.entries)
        assert position(ledger, wants(limit=1, window=60)) == 0
        assert [(row[3], row[4]) for row in rows(path)] == [(NOON, "0"), (NOON + 60, "1")]

    with_ledger(path, test)


def test_giving_back_into_a_window_that_is_gone_does_nothing(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        early = claims(ledger, wants(window=60))
        clock.now = NOON + 600
        claims(ledger, wants(window=60))
        before = rows(path)
        await ledger.give_back(early.entries)
        assert rows(path) == before == [("stub/t.n", "", 60, NOON + 600, "1")]

    with_ledger(path, test)


@pytest.mark.parametrize("amount", [10**33 + 1, Decimal("1234567890123456789012345678901.234"), Decimal("1e-30")])
def test_what_is_given_back_is_exactly_what_was_taken(path: Path, amount: Amount) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claims(ledger, wants(amount=Decimal("0.125"), limit=10**40))
        await ledger.give_back(claims(ledger, wants(amount=amount, limit=10**40)).entries)
        assert Decimal(rows(path)[0][4]) == Decimal("0.125")

    with_ledger(path, test)


def test_what_is_left_is_exact(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants(amount=Decimal("1.000000000000000000000000000001"), limit=2))
        assert claim.left == (Decimal("0.999999999999999999999999999999"),)

    with_ledger(path, test)


def test_giving_back_twice_never_makes_a_total_negative(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants(limit=1))
        await ledger.give_back(claim.entries * 3)
        claims(ledger, wants(limit=1))
        assert position(ledger, wants(limit=1)) == 0

    with_ledger(path, test)


# Others on the same file.


def test_a_claim_at_once_gives_none_and_takes_nothing_while_another_connection_holds_the_file(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        with held(path):
            assert ledger.claim_at_once((wants(),)) is None
        assert rows(path) == []
        assert claims(ledger, wants()).left == (2,)

    with_ledger(path, test)


HOLD = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('BEGIN IMMEDIATE'); print(flush=1); input()"


@contextmanager
def held_by_a_process(path: Path) -> Iterator[None]:
    """Another process holds the file for writing."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate(b"\n", timeout=10)


def test_a_claim_at_once_gives_none_while_another_process_holds_the_file(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        with held_by_a_process(path):
            assert ledger.claim_at_once((wants(),)) is None
        assert claims(ledger, wants()).left == (2,)

    with_ledger(path, test)


def test_giving_back_at_once_works_or_changes_nothing_and_says_so(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants(limit=1))
        with held(path):
            assert not ledger.give_back_at_once(claim.entries)
        assert position(ledger, wants(limit=1)) == 0
        assert ledger.give_back_at_once(claim.entries)
        assert claims(ledger, wants(limit=1)).left == (0,)

    with_ledger(path, test)


def test_a_claim_that_waits_gets_through_once_the_file_is_free_and_holds_up_nobody(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        with held(path):
            task = asyncio.create_task(ledger.claim((wants(),)))
            done, _ = await asyncio.wait([task], timeout=0.05)  # the loop goes on meanwhile
            assert not done
        assert isinstance(await task, Claim)
        assert [row[4] for row in rows(path)] == ["1"]

    with_ledger(path, test)


def test_waiting_for_the_file_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        with held(path), pytest.raises(StoreUnavailable, match="locked"):
            await ledger.claim((wants(),))
        assert rows(path) == []

    with_ledger(path, test)


def test_readers_of_the_file_are_in_nobodys_way(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("BEGIN")
        db.execute("SELECT * FROM counters").fetchall()
        assert claims(ledger, wants()).left == (2,)
        db.close()

    with_ledger(path, test)


# What cannot be used.


@pytest.mark.parametrize(
    "spoil", [Path.mkdir, lambda path: path.write_bytes(b"not a database, but long enough " * 100)]
)
def test_a_file_that_cannot_be_used_is_said_at_the_start(path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(path)
    with pytest.raises(StoreUnavailable, match=f"cannot use {path} as the store of counters: "):
        SqliteLedger(path, Clock())


def test_a_folder_that_is_not_there_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="unable to open database file"):
        SqliteLedger(tmp_path / "none" / "counters.db", Clock())


def test_a_store_that_breaks_later_raises_and_takes_nothing(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = claims(ledger, wants())
        db = sqlite3.connect(path)
        db.execute("DROP TABLE counters")
        db.close()
        with pytest.raises(StoreUnavailable, match="no such table"):
            ledger.claim_at_once((wants(),))
        with pytest.raises(StoreUnavailable, match="no such table"):
            await ledger.claim((wants(),))
        with pytest.raises(StoreUnavailable, match="no such table"):
            await ledger.give_back(claim.entries)

    with_ledger(path, test)


def test_a_total_that_is_no_number_is_a_store_that_cannot_be_used(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claims(ledger, wants())
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE counters SET total = 'many'")
        db.close()
        with pytest.raises(StoreUnavailable):
            ledger.claim_at_once((wants(),))
        with pytest.raises(StoreUnavailable):
            await ledger.claim((wants(),))

    with_ledger(path, test)


@pytest.mark.parametrize("total", ["NaN", "Infinity", "-5"])
def test_a_total_that_cannot_be_compared_lets_nothing_through(path: Path, total: str) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claims(ledger, wants(limit=1))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE counters SET total = ?", (total,))
        db.close()
        try:
            claimed = ledger.claim_at_once((wants(limit=1, amount=7),))
        except StoreUnavailable:
            return
        assert isinstance(claimed, Exhausted)

    with_ledger(path, test)
