"""A store that somebody holds: everything that waits for it has one deadline, from the moment that it asked."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from sidecar.enforce import limits
from sidecar.enforce.limits import Counters
from sidecar.errors import StoreUnavailable
from sidecar.ledger import sqlite_access
from sidecar.ledger.approvals import NOTHING_ASKED, Approvals, Wants
from sidecar.ledger.protocol import NOTHING_SEEN, Claimed, Highest, Taken
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen
from tests.ledger.stores import DAY, Clock, SqliteStore, claims, ledger_in, wants
from tests.ledger.test_sqlite import held
from tests.support.peer import SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "counters.db"


def test_many_who_wait_wait_together_and_not_one_after_the_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_access, "PATIENCE", 0.5)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            with held(path):
                async with asyncio.timeout(SECONDS):  # one after the other they would need four times that
                    outcomes = await asyncio.gather(
                        *(ledger.claim((wants(),)) for _ in range(120)), return_exceptions=True
                    )
            assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
            # What was late was dropped, and nothing of it comes later.
            assert (await claims(ledger, wants())).totals == (1,)

    asyncio.run(test())


def test_a_disk_that_hangs_is_given_up_and_what_waited_behind_it_never_begins(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_access, "PATIENCE", 0.05)
    monkeypatch.setattr(sqlite_access, "GRACE", 0.05)
    works_again = threading.Event()

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            assert isinstance(ledger, SqliteLedger)
            ledger._access._thread.submit(works_again.wait, SECONDS)
            with pytest.raises(StoreUnavailable, match="held it up"):
                await ledger.claim((wants(),))
            works_again.set()
            assert (await claims(ledger, wants())).totals == (1,)

    asyncio.run(test())


def test_a_total_is_looked_up_while_somebody_else_writes(path: Path) -> None:
    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            await claims(ledger, wants(amount=2))
            with held(path):
                assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (2,)

    asyncio.run(test())


class Slow:
    """A ledger that gives back only once it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.returned: list[Entry] = []

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken] | None:  # fmt: skip
        raise NotImplementedError

    async def claim(
        self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = (), asked: Wants | None = None
    ) -> Claimed:  # fmt: skip
        raise NotImplementedError

    @property
    def approvals(self) -> Approvals:
        raise NotImplementedError

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        raise NotImplementedError

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        return False

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        await self.may.wait()
        self.returned += entries

    async def admit(self, server: str, bundle: Highest) -> Highest:
        raise NotImplementedError

    async def close(self) -> None:
        pass


def test_what_is_given_back_slowly_holds_up_no_answer_and_is_given_back_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "HELD_UP", 0.01)

    async def test() -> None:
        ledger, told = Slow(), asyncio.Event()
        counters = Counters("stub", ledger, lambda _: None)
        entry = Entry(wants(), 0)
        counters.give_back((entry,), told.set)
        async with asyncio.timeout(SECONDS):
            await told.wait()
            assert ledger.returned == []
            ledger.may.set()
            await counters.work.wait()
        assert ledger.returned == [entry]

    asyncio.run(test())


def test_a_file_is_opened_though_somebody_writes_for_a_moment(path: Path) -> None:
    async def test() -> None:
        async with ledger_in(SqliteStore(path)):
            pass
        with held(path):
            opening = asyncio.get_running_loop().run_in_executor(None, SqliteLedger, path, Clock())
            await asyncio.wait([opening], timeout=0.05)
        await (await opening).close()

    asyncio.run(test())
