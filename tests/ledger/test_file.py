"""The file of counters: nobody else's, and still the one at its path."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.ledger import file
from sidecar.ledger.protocol import Ledger
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Counter
from tests.ledger.stores import DAY, Clock, SqliteStore, claim, claims, ledger_in, wants
from tests.support.peer import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder / "counters.db"


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Another umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def rights(path: Path) -> dict[str, int]:
    """What may be done with each file of the store."""
    return {one.name: stat.S_IMODE(one.stat().st_mode) for one in sorted(path.parent.iterdir())}


PRIVATE = {"counters.db": 0o600, "counters.db-shm": 0o600, "counters.db-wal": 0o600}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_the_files_are_nobody_elses_whatever_the_umask(path: Path, mask: int) -> None:
    async def test() -> None:
        with umask(mask):
            async with ledger_in(SqliteStore(path)) as ledger:
                await claims(ledger, wants())
                assert rights(path) == PRIVATE

    asyncio.run(test())


def test_files_that_others_could_read_are_taken_from_them(path: Path) -> None:
    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            await claims(ledger, wants())
            for one in path.parent.iterdir():
                one.chmod(0o666)
            async with ledger_in(SqliteStore(path)):
                assert rights(path) == PRIVATE

    asyncio.run(test())


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/dev/null"), os.mkfifo])
def test_what_is_no_plain_file_is_no_store(path: Path, make: Callable[[Path], object]) -> None:
    make(path)
    with pytest.raises(StoreUnavailable, match=r"counters\.db as the store of counters: it is no plain file"):
        SqliteLedger(path, Clock())


# What is gone.


def quiet(ledger: SqliteLedger) -> bool:
    """True when the files are trusted by the time of their folder alone."""
    ledger._access._files.check()
    return ledger._access._files._quiet is not None


def empty(folder: Path) -> None:
    """Remove all that is in it."""
    for one in folder.iterdir():
        one.unlink()


def replace(path: Path) -> None:
    """Another file takes its place."""
    other = path.with_name("other")
    other.touch()
    other.replace(path)


GONE: dict[str, Callable[[Path], object]] = {
    "the file": Path.unlink,
    "its log": lambda path: path.with_name("counters.db-wal").unlink(),
    "its index": lambda path: path.with_name("counters.db-shm").unlink(),
    "the folder": lambda path: shutil.rmtree(path.parent),
    "the folder's name": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "all but the folder": lambda path: empty(path.parent),
    "the file, for another": replace,
}

NEW = {"the folder", "the folder's name", "all but the folder"}
"""Where somebody who starts now begins with a store of his own."""


@pytest.mark.parametrize("is_quiet", [False, True])
@pytest.mark.parametrize("what", GONE)
def test_a_store_that_was_removed_or_replaced_is_one_that_failed(
    path: Path, what: str, is_quiet: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "QUIET", 0.05 if is_quiet else 1e9)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            assert isinstance(ledger, SqliteLedger)
            taken = await claims(ledger, wants())
            if is_quiet:
                until(lambda: quiet(ledger))
            assert quiet(ledger) is is_quiet
            GONE[what](path)
            await refuses(ledger)
            with pytest.raises(StoreUnavailable, match="removed or replaced"):
                ledger.give_back_at_once(taken.entries)
            # Nor does it begin again when somebody else has made a new one meanwhile.
            path.parent.mkdir(exist_ok=True)
            if what in NEW:
                async with ledger_in(SqliteStore(path)) as new:
                    assert (await claims(new, wants(limit=1))).totals == (1,)
                    await refuses(ledger)

    asyncio.run(test())


async def refuses(ledger: Ledger) -> None:
    """Every way to use it fails and says why."""
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await claim(ledger, wants(limit=None))
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await ledger.claim((wants(limit=None),))
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await ledger.totals((Counter("stub/t.n", "", DAY),))


def test_a_folder_that_is_put_back_is_used_again(path: Path) -> None:
    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            await claims(ledger, wants())
            elsewhere = path.parent.with_name("elsewhere")
            path.parent.rename(elsewhere)
            await refuses(ledger)
            elsewhere.rename(path.parent)
            assert (await claims(ledger, wants(limit=None))).totals > (1,)

    asyncio.run(test())


def test_other_files_that_come_and_go_in_the_folder_are_in_nobodys_way(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "QUIET", 0.0)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            for number in range(1, 20):
                (path.parent / f"other-{number}").touch()
                assert (await claims(ledger, wants(limit=None))).totals == (number,)

    asyncio.run(test())


def test_a_look_at_the_folder_is_all_that_a_claim_costs_while_nothing_changes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file, "QUIET", 0.05)
    looked: list[Path] = []

    def identity(one: Path) -> tuple[int, int] | None:
        looked.append(one)
        return before(one)

    before = file._identity
    monkeypatch.setattr(file, "_identity", identity)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            assert isinstance(ledger, SqliteLedger)
            until(lambda: quiet(ledger))
            looked.clear()
            for _ in range(5):
                await claims(ledger, wants(limit=None))
            assert looked == []

    asyncio.run(test())
