"""Approvals in an SQLite file: rows that are damaged, files of other versions, a full queue, a disk that hangs."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sqlite_access, sqlite_records
from sidecar.ledger.approvals import MAX_PENDING, QueueFull, Record, Unapproved
from sidecar.ledger.protocol import Claim
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.sqlite_approvals import MAX_SWEPT
from sidecar.ledger.values import Counter
from tests.ledger.asking import SHOWN, TERMS, approved, asks, pending, refused, same, says, state, used
from tests.ledger.stores import DAY, Clock, SqliteStore, claim, claims, ledger_in, wants
from tests.ledger.test_sqlite import held
from tests.support.peer import SECONDS

Test = Callable[[SqliteLedger, Clock], Coroutine[Any, Any, None]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters.db"


def with_ledger(path: Path, test: Test) -> None:
    """Run a test with a ledger and its clock."""

    async def run() -> None:
        clock = Clock()
        async with ledger_in(SqliteStore(path), clock) as ledger:
            assert isinstance(ledger, SqliteLedger)
            await test(ledger, clock)

    asyncio.run(run())


def write(path: Path, statement: str, *values: object) -> None:
    """Somebody changes the file."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(statement, values).rowcount > 0


DAMAGES = {
    "no JSON": "UPDATE approvals SET stands = '{'",
    "no text": "UPDATE approvals SET stands = x'00ff'",
    "bytes that are no UTF-8": "UPDATE approvals SET stands = CAST(x'7bff' AS TEXT)",
    "another state in the column": "UPDATE approvals SET state = 'approved'",
    "another state in the text": "UPDATE approvals SET stands = replace(stands, '\"pending\"', '\"approved\"')",
    "a state that does not exist": "UPDATE approvals SET state = 'open', stands = replace(stands, 'pending', 'open')",
    "a later end": "UPDATE approvals SET expires = expires + 1",
    "another holder": "UPDATE approvals SET holder = 'other'",
    "the question of another": "UPDATE approvals_asked SET asked = replace(asked, '\"c\"', '\"d\"')",
    "no question": "DELETE FROM approvals_asked",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_approval_lets_nothing_through_and_harms_no_other(path: Path, damage: str) -> None:
    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        record = await pending(ledger, asks())
        write(path, damage)
        with pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())
        for work in (
            ledger.approvals.find(record.id),
            ledger.approvals.decide(record.id, says("approve")),
            ledger.approvals.settle(record.id, "released"),
        ):
            with pytest.raises(StoreUnavailable):
                await work
        other = await approved(ledger, asks("other"))
        assert [one.id for one in await ledger.approvals.records()] == [other.id]
        assert (await used(ledger, asks("other"), wants())).id == other.id
        clock.passes(3600)
        assert [one.state for one in await ledger.approvals.sweep("there")] == ["unknown"]
        assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (1,)

    with_ledger(path, test)


def test_a_damaged_approval_is_the_trouble_of_its_own_call_among_several(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks("good"))
        await pending(ledger, asks("damaged"))
        write(path, "UPDATE approvals SET stands = '' WHERE call = 'damaged'")
        calls = (ledger.claim((wants(),), (), one) for one in (asks("damaged"), asks("good"), None))
        claimed = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one) for one in claimed] == [StoreUnavailable, Claim, Claim]

    with_ledger(path, test)


def test_a_damaged_call_of_which_nobody_knows_what_became_still_stands_in_the_way(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks())
        await ledger.approvals.settle(record.id, "unknown")
        write(path, "UPDATE approvals SET stands = ''")
        for again in (asks(holder="other"), same()):
            with pytest.raises(StoreUnavailable):
                await claim(ledger, asks=again)

    with_ledger(path, test)


@pytest.mark.parametrize("amount", ["-1", '"NaN"', '"Infinity"', '"1e999999"', "true", "null"])
def test_a_damaged_amount_gives_nothing_back(path: Path, amount: str) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks(), wants())
        await ledger.approvals.settle(record.id, "unknown")
        write(path, "UPDATE approvals SET stands = replace(stands, '\"amount\":1', ?)", f'"amount":{amount}')
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.resolve(record.id, says("failed"))
        assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (1,)

    with_ledger(path, test)


GRANT_DAMAGES = (
    "UPDATE approvals_grants SET grant_ = ''",
    "UPDATE approvals_grants SET until = until + 1",
    'UPDATE approvals_grants SET grant_ = replace(grant_, \'"holder":"agent"\', \'"holder":"other"\')',
)


@pytest.mark.parametrize("damage", GRANT_DAMAGES)
def test_a_damaged_standing_approval_lets_nothing_through(path: Path, damage: str) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks("first", grant=TERMS), grant=True)
        write(path, damage)
        with pytest.raises(StoreUnavailable):
            await claim(ledger, asks=asks("like it", grant=TERMS))
        assert await ledger.approvals.grants() == []

    with_ledger(path, test)


@pytest.mark.parametrize("mark", ["text", 9e999])
def test_a_damaged_time_lets_nothing_through(path: Path, mark: object) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks())
        write(path, "UPDATE approvals_time SET mark = ?", mark)
        with pytest.raises(StoreUnavailable):
            await claim(ledger, asks=asks())
        assert isinstance(await claim(ledger, wants()), Claim)  # what asks for nothing is not affected

    with_ledger(path, test)


@pytest.mark.parametrize("secret", [b"short", "text" * 8, b""])
def test_a_damaged_secret_is_no_secret(path: Path, secret: object) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await ledger.approvals.secret()
        write(path, "UPDATE approvals_secret SET secret = ?", secret)
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.secret()

    with_ledger(path, test)


def test_a_damaged_notice_holds_up_no_other(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await pending(ledger, asks("damaged", notify=True))
        sound = await pending(ledger, asks("sound", notify=True))
        write(path, "UPDATE approvals_notices SET stands = '' WHERE seq = 1")
        (notice,) = await ledger.approvals.notices("stub", 30, 10)
        assert notice.record == sound

    with_ledger(path, test)


# Files of other versions, and others on the file.


def test_a_file_from_before_there_were_approvals_gets_them(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(
            "CREATE TABLE counters (counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL,"
            " start INTEGER NOT NULL, total TEXT NOT NULL, PRIMARY KEY (counter, holder, window, start)) WITHOUT ROWID"
        )
        db.execute("PRAGMA user_version = 1")

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await approved(ledger, asks())
        await used(ledger, asks(), wants())

    with_ledger(path, test)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)  # what an older sidecar expects


def test_answers_and_ends_wait_for_whoever_holds_the_file(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        record = await pending(ledger, asks())
        with held(path):
            deciding = asyncio.create_task(ledger.approvals.decide(record.id, says("approve")))
            await asyncio.sleep(0)
            assert (await ledger.approvals.find(record.id)).state == "pending"
            assert len(await ledger.approvals.records()) == 1
        assert (await deciding)[0].state == "approved"
        record = await used(ledger, asks(), wants())
        with held(path):
            assert ledger.approvals.settle_at_once(record.id, "consumed") is None
            settling = asyncio.create_task(ledger.approvals.settle(record.id, "not_run", record.entries))
            await asyncio.sleep(0)
        assert (await settling).state == "consumed"
        assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (0,)

    with_ledger(path, test)


def test_a_claim_that_a_disk_finished_after_it_was_given_up_is_undone(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_access, "PATIENCE", 0.05)
    monkeypatch.setattr(sqlite_access, "GRACE", 0.05)
    works_again = threading.Event()

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            assert isinstance(ledger, SqliteLedger)
            record = await approved(ledger, asks())

            def hangs() -> float:
                if threading.current_thread() is not threading.main_thread():
                    works_again.wait(SECONDS)
                return Clock().now

            ledger._clock = hangs
            for wanted, asked in (((wants(),), asks()), ((wants("stub/other"),), None)):
                works_again.clear()
                with pytest.raises(StoreUnavailable, match="held it up"):
                    await ledger.claim(wanted, (), asked)
                works_again.set()
                await asyncio.wrap_future(ledger._access._thread.submit(int))  # behind it
            assert await state(ledger, record) == "approved"
            assert await ledger.totals((Counter("stub/t.n", "", DAY), Counter("stub/other", "", DAY))) == (0, 0)
            assert (await used(ledger, asks())).id == record.id

    asyncio.run(test())


def test_a_file_that_was_replaced_lets_no_approved_call_through(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        record = await approved(ledger, asks())
        path.rename(path.with_name("elsewhere"))  # noqa: ASYNC240 - the test's own loop
        for work in (claim(ledger, asks=asks()), ledger.approvals.decide(record.id, says("approve"))):
            with pytest.raises(StoreUnavailable, match="removed or replaced"):
                await work
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.records()

    with_ledger(path, test)


# Many.


def test_ten_thousand_calls_that_wait_are_all_that_do_and_none_is_lost(path: Path) -> None:
    """Each agent may have a hundred; a call finds its own without looking at the others."""

    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        for agent in range(MAX_PENDING // 100):
            calls = {number: asks(f"c{number}", holder=f"agent-{agent}") for number in range(100)}
            claimed = ledger.claim_at_once([()] * 100, {}, calls)
            assert claimed is not None
            assert all(isinstance(one, Unapproved) and one.is_new for one in claimed)
        assert await claim(ledger, asks=asks(holder="one more")) == QueueFull(own=False)
        assert await claim(ledger, asks=asks("c100", holder="agent-7")) == QueueFull(own=True)
        counts = await ledger.approvals.counts("stub")
        assert counts.states["pending"] == MAX_PENDING
        record = await refused(ledger, asks("c99", holder="agent-42"))
        assert (record.state, record.asked_times) == ("pending", 2)
        await ledger.approvals.decide(record.id, says("approve"))
        assert (await used(ledger, asks("c99", holder="agent-42"))).id == record.id
        clock.passes(1800)
        swept: list[Record] = []
        while more := await ledger.approvals.sweep("here"):  # each holds up the calls for a moment only
            assert len(more) <= MAX_SWEPT
            swept += more
        assert sum(one.state == "expired" for one in swept) == MAX_PENDING - 1

    with_ledger(path, test)


def test_a_call_that_comes_again_and_again_is_read_and_written_without_what_is_long_of_it(path: Path) -> None:
    shown = replace(SHOWN, arguments=f'{{"text":"{"x" * 2**20}"}}')

    async def test(ledger: SqliteLedger, clock: Clock) -> None:
        record = await pending(ledger, asks(shown=shown))
        said: list[str] = []
        ledger._access.hasty._db.set_trace_callback(said.append)
        assert (await refused(ledger, asks(shown=shown))).asked.shown.arguments == ""
        assert sum(map(len, said)) < 10_000
        assert (await ledger.approvals.find(record.id)).asked.shown == shown
        clock.passes(1800)
        assert [one.state for one in await ledger.approvals.sweep("here")] == ["expired"]
        assert (await ledger.approvals.find(record.id)).asked.shown == shown

    with_ledger(path, test)


def test_what_every_call_asks_is_answered_by_an_index(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await pending(ledger, asks())

    with_ledger(path, test)
    questions = {
        sqlite_records._BY_ID: 1, sqlite_records._OF_BINDING: 1, sqlite_records._UNFINISHED: 2,
        sqlite_records._PENDING_OF: 3, sqlite_records._GRANT: 1, sqlite_records._GRANTS: 4,
        sqlite_records._HEARD: 1,
    }  # fmt: skip
    with closing(sqlite3.connect(path)) as db:
        for question, values in questions.items():
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {question}", (0,) * values)]
            assert not any(line.startswith("SCAN approvals") or "TEMP B-TREE" in line for line in plan), plan


def test_a_claim_that_asks_for_nothing_stays_one_statement(path: Path) -> None:
    async def test(ledger: SqliteLedger, _: Clock) -> None:
        await claims(ledger, wants())
        said: list[str] = []
        ledger._access.hasty._db.set_trace_callback(said.append)
        await claims(ledger, wants())
        assert [one.split()[0] for one in said] == ["BEGIN", "UPDATE", "COMMIT"] or len(said) == 1, said

    with_ledger(path, test)


def test_a_power_cut_takes_back_no_use_of_an_approval_and_no_revocation(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk certainly has is what was there when it was last waited for."""
    disk = path.with_name("disk")
    disk.mkdir()

    def fsync(_: int) -> None:
        for file in path.parent.glob(f"{path.name}*"):
            shutil.copy(file, disk)

    async def on_disk(id_: str) -> tuple[str, int]:
        async with ledger_in(SqliteStore(disk / path.name)) as after:
            return (await after.approvals.find(id_)).state, len(await after.approvals.grants())

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        record = await approved(ledger, asks(grant=TERMS), grant=True)
        monkeypatch.setattr(os, "fsync", fsync)
        await used(ledger, asks(grant=TERMS))
        assert await on_disk(record.id) == ("in_use", 1)
        await ledger.approvals.revoke(record.id, says("revoke"))
        assert await on_disk(record.id) == ("in_use", 0)

    with_ledger(path, test)


def test_a_use_of_an_approval_that_the_disk_does_not_take_is_none(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def test(ledger: SqliteLedger, _: Clock) -> None:
        record = await approved(ledger, asks())
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", fsync)
            with pytest.raises(StoreUnavailable):
                await claim(ledger, wants(limit=1), asks=asks())
        assert await state(ledger, record) == "approved"
        await used(ledger, asks(), wants(limit=1))

    with_ledger(path, test)
