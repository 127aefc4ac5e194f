"""The ledger in SQLite: a file that others hold, that is damaged, or that cannot be used."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sqlite, sqlite_access
from sidecar.ledger.protocol import Claim, Exhausted, Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Counter, Reservation, add
from tests.ledger.stores import DAY, Clock, Row, SqliteStore, claim, claims, ledger_in, position, wants

Test = Callable[[SqliteLedger, Clock], Coroutine[Any, Any, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters.db"


def with_ledger(path: Path, test: Test) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        ledger = SqliteLedger(path, clock)
        try:
            await test(ledger, clock)
        finally:
            await ledger.close()

    asyncio.run(run())


async def totals(ledger: Ledger, *wanted: Reservation) -> tuple[Amount, ...]:
    """Where the counters of some reservations stand."""
    return await ledger.totals(tuple(Counter(one.counter, one.holder, one.window, one.sliding) for one in wanted))


def rows(path: Path) -> list[Row]:
    """What stands in the file."""
    return SqliteStore(path).rows()


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


# Others on the same file.


def test_a_claim_at_once_gives_none_and_takes_nothing_while_another_connection_holds_the_file(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        with held(path):
            assert ledger.claim_at_once([(wants(),)]) is None
        assert rows(path) == []
        assert (await claims(ledger, wants())).totals == (1,)

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
            assert ledger.claim_at_once([(wants(),)]) is None
        assert (await claims(ledger, wants())).totals == (1,)

    with_ledger(path, test)


def test_giving_back_at_once_works_or_changes_nothing_and_says_so(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = await claims(ledger, wants(limit=1))
        with held(path):
            assert not ledger.give_back_at_once(claim.entries)
        assert await position(ledger, wants(limit=1)) == 0
        assert ledger.give_back_at_once(claim.entries)
        assert (await claims(ledger, wants(limit=1))).totals == (1,)

    with_ledger(path, test)


def test_a_claim_that_waits_gets_through_once_the_file_is_free_and_holds_up_nobody(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        with held(path):
            task = asyncio.create_task(ledger.claim((wants(),)))
            done, _ = await asyncio.wait([task], timeout=0.05)  # the loop goes on meanwhile
            assert not done
        assert isinstance(await task, Claim)
        assert [row[4] for row in rows(path)] == [1]

    with_ledger(path, test)


def test_waiting_for_the_file_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_access, "PATIENCE", 0.1)

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
        assert (await claims(ledger, wants())).totals == (1,)
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
    with pytest.raises(StoreUnavailable, match="No such file or directory"):
        SqliteLedger(tmp_path / "none" / "counters.db", Clock())


def test_a_store_that_breaks_later_raises_and_takes_nothing(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        claim = await claims(ledger, wants())
        db = sqlite3.connect(path)
        db.execute("DROP TABLE counters")
        db.close()
        with pytest.raises(StoreUnavailable, match="no such table"):
            ledger.claim_at_once([(wants(),)])
        with pytest.raises(StoreUnavailable, match="no such table"):
            await ledger.claim((wants(),))
        with pytest.raises(StoreUnavailable, match="no such table"):
            await ledger.give_back(claim.entries)

    with_ledger(path, test)


@pytest.mark.parametrize(
    "damaged",
    [
        "'many'", "''", "'NaN'", "'-100'", "'-0'", "'1_0'", "' 3 '", "'+1'", "'01'", "'1e0'", "'\u0663'", "'Infinity'",
        "'1E+999999999'", f"'{'9' * 5000}'", "CAST(x'ff35' AS TEXT)", "CAST(x'3100' AS TEXT)", "x'31'",
    ],
)  # fmt: skip
def test_a_total_that_we_did_not_write_is_a_store_that_cannot_be_used_by_whoever_needs_it(
    path: Path, damaged: str
) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        taken = await claims(ledger, wants())
        await claims(ledger, wants("stub/t.sound"))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute(f"UPDATE counters SET total = {damaged} WHERE counter = 'stub/t.n'")
        db.close()
        with pytest.raises(StoreUnavailable):
            await ledger.totals((Counter("stub/t.n", "", DAY),))
        with pytest.raises(StoreUnavailable):
            ledger.give_back_at_once(taken.entries)
        with pytest.raises(StoreUnavailable):
            await ledger.claim((wants(),))
        claimed = ledger.claim_at_once([(wants(),), (wants("stub/t.sound"),)])
        assert claimed is not None
        broken, sound = claimed
        assert isinstance(broken, StoreUnavailable)
        assert isinstance(sound, Claim)
        assert sound.totals == (2,)

    with_ledger(path, test)


def test_calls_that_claim_together_see_each_other_and_a_refused_one_leaves_no_trace(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        one, both = (wants(limit=3),), (wants(limit=3), wants("stub/t.full", limit=0))
        claimed = ledger.claim_at_once([one, both, one, one, one])
        assert claimed is not None
        assert [one.totals if isinstance(one, Claim) else one for one in claimed] == [
            (1,), Exhausted(1, 43200), (2,), (3,), Exhausted(0, 43200),
        ]  # fmt: skip
        assert await totals(ledger, wants(), wants("stub/t.full")) == (3, 0)

    with_ledger(path, test)


def test_calls_that_claim_together_need_one_transaction(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        said: list[str] = []
        ledger._access.hasty._db.set_trace_callback(said.append)
        ledger.claim_at_once([(wants(limit=None),)] * 32)
        assert [line.split()[0] for line in said].count("COMMIT") == 1
        assert len([line for line in said if line.startswith(("SELECT", "INSERT"))]) == 2

    with_ledger(path, test)


# Counters that stand where we left them.


def test_a_claim_on_a_counter_that_nobody_else_changed_is_one_statement(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        said: list[str] = []
        await claims(ledger, wants(limit=9))
        ledger._access.hasty._db.set_trace_callback(said.append)
        assert (await claims(ledger, wants(limit=9))).totals == (2,)
        together = ledger.claim_at_once([(wants(limit=9),)] * 3)
        assert [one.totals for one in together or () if isinstance(one, Claim)] == [(3,), (4,), (5,)]
        assert [line.split()[0] for line in said] == ["UPDATE"] * 2
        assert await totals(ledger, wants()) == (5,)

    with_ledger(path, test)


@pytest.mark.parametrize("limit", [None, 3, 4])
def test_what_another_process_took_meanwhile_counts(path: Path, limit: int | None) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        async with ledger_in(SqliteStore(path), clock) as other:
            await claims(ledger, wants())
            await claims(other, wants())
            third, fourth = [await claim(ledger, wants(limit=limit)) for _ in range(2)]
            assert isinstance(third, Claim)
            assert third.totals == (3,)
            assert isinstance(fourth, Exhausted) is (limit == 3)
            assert await totals(other, wants()) == (3 if limit == 3 else 4,)

    with_ledger(path, test)


def test_a_counter_that_is_full_for_all_we_know_is_looked_at(path: Path) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        async with ledger_in(SqliteStore(path), clock) as other:
            await claims(ledger, wants("stub/other"))
            taken = await claims(ledger, wants(limit=1))
            assert isinstance(await claim(ledger, wants(limit=1)), Exhausted)
            await other.give_back(taken.entries)
            # The first alone is one statement, which says nothing about the second.
            claimed = ledger.claim_at_once([(wants("stub/other"),), (wants(limit=1),)])
            assert [type(one) for one in claimed or ()] == [Claim, Claim]

    with_ledger(path, test)


def test_what_was_given_back_can_be_taken_again(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        taken = [await claims(ledger, wants(limit=2)) for _ in range(2)]
        assert ledger.give_back_at_once(taken[0].entries)
        assert (await claims(ledger, wants(limit=2))).totals == (2,)
        await ledger.give_back(taken[1].entries)
        assert (await claims(ledger, wants(limit=2))).totals == (2,)
        assert isinstance(await claim(ledger, wants(limit=2)), Exhausted)

    with_ledger(path, test)


def test_only_so_many_counters_are_remembered(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        for number in range(sqlite.MAX_LAST_TOTALS + 500):
            ledger.claim_at_once([(wants(holder=f"session-{number}"),)])
            assert len(ledger._last_totals) <= sqlite.MAX_LAST_TOTALS
        assert len(ledger._last_totals) == 500

    with_ledger(path, test)


counter_names = st.sampled_from(["a", "b", "c"])
amounts = st.integers(0, 4) | st.decimals(0, 3, places=2)
reservations = st.builds(
    wants, counter_names, amount=amounts, limit=st.none() | st.integers(0, 9), holder=st.sampled_from(["", "s"]),
    exclusive=st.booleans(), sliding=st.booleans(),
)  # fmt: skip


@given(st.lists(st.lists(reservations, min_size=1, max_size=3).map(tuple), min_size=1, max_size=12))
def test_claiming_together_gives_what_claiming_one_after_the_other_gives(
    calls: list[tuple[Reservation, ...]],
) -> None:
    async def test(folder: Path) -> None:
        clock = Clock()
        together, apart = (SqliteLedger(folder / name, clock) for name in ("together.db", "apart.db"))
        try:
            assert together.claim_at_once(calls) == [await claim(apart, *call) for call in calls]
            everything = [wanted for call in calls for wanted in call]
            assert await totals(together, *everything) == await totals(apart, *everything)
        finally:
            await together.close()
            await apart.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(test(Path(folder)))


@pytest.mark.parametrize("total", ["NaN", "Infinity", "-5"])
def test_a_total_that_cannot_be_compared_lets_nothing_through(path: Path, total: str) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await claims(ledger, wants(limit=1))
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("UPDATE counters SET total = ?", (total,))
        db.close()
        try:
            claimed = await claim(ledger, wants(limit=1, amount=7))
        except StoreUnavailable:
            return
        assert isinstance(claimed, Exhausted)

    with_ledger(path, test)


def test_whatever_we_write_we_read(path: Path) -> None:
    amounts: list[Amount] = [0, 1, 10**64, Decimal("1E+30"), Decimal("0E-30"), Decimal("1e-30"), Decimal("9.90")]

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        total: Amount = 0
        for one in amounts:
            total = add(total, one)
            taken = await ledger.claim((wants(amount=one, limit=None),))
            assert isinstance(taken, Claim)
            assert taken.totals == await ledger.totals((Counter("stub/t.n", "", DAY),)) == (total,)
            await ledger.give_back(taken.entries)
            assert await ledger.claim((wants(amount=one, limit=None),)) == taken

    with_ledger(path, test)


def test_the_thread_that_waits_for_others_is_there_before_anybody_waits(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        monkeypatch.setattr(Thread, "start", no_more)
        assert isinstance(await ledger.claim((wants(),)), Claim)

    with_ledger(path, test)


def test_a_store_without_a_thread_to_wait_on_is_said_at_the_start(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Thread, "start", no_more)
    with pytest.raises(StoreUnavailable, match="can't start new thread"):
        SqliteLedger(path, Clock())


def no_more(_: Thread) -> None:
    """What a thread says where there may be no more of them."""
    raise RuntimeError("can't start new thread")
