"""Names of counters: another one for each server and counter, and none forgotten when they were called otherwise."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.ledger.names import carried_over, of_server
from sidecar.ledger.values import Exhausted, Reservation
from tests.ledger import NOON, SqliteStore, claim, claims, ledger_in, wants
from tests.support.fuzzing import examples

NAMES = st.text(st.sampled_from("ab/%:|.2F5é"), max_size=6)


def test_a_slash_in_a_servers_name_is_not_the_one_before_the_tool() -> None:
    assert of_server("a") + "b/c.n" != of_server("a/b") + "c.n"
    assert of_server("okx") + "t.n" == "okx/t.n"


@pytest.mark.fuzz
@given(pairs=st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=2, unique=True))
@examples(500)
def test_different_servers_or_counters_have_different_names(pairs: list[tuple[str, str]]) -> None:
    one, other = (of_server(server) + counter for server, counter in pairs)
    assert one != other


@pytest.mark.fuzz
@given(server=NAMES, counter=NAMES)
@examples(500)
def test_whatever_a_counter_was_called_its_name_of_now_is_among_those_it_is_carried_over_to(
    server: str, counter: str
) -> None:
    old = f"{server}/{counter}"
    assert of_server(server) + counter in {old, *carried_over(old)}


def old_store(path: Path, *rows: tuple[str, str, int, int, str]) -> None:
    """A store as it was before servers' names were encoded."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE counters (counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL, start INTEGER"
            " NOT NULL, total TEXT NOT NULL, PRIMARY KEY (counter, holder, window, start)) WITHOUT ROWID"
        )
        db.executemany("INSERT INTO counters VALUES (?, ?, ?, ?, ?)", rows)


def of(server: str, counter: str, limit: int = 3) -> Reservation:
    """One of a server's counter."""
    return wants(of_server(server) + counter, window=60, limit=limit)


def test_what_was_counted_under_an_old_name_goes_on_under_the_new_one_and_is_not_doubled(tmp_path: Path) -> None:
    path = tmp_path / "counters.db"
    old_store(
        path, ("plain/t.n", "", 60, NOON, "2"), ("io.github/okx/t.n", "", 60, NOON, "2"), ("50%/t.n", "", 60, NOON, "2")
    )

    async def test() -> None:
        for server in ("plain", "io.github/okx", "50%"):
            async with ledger_in(SqliteStore(path)) as ledger:
                assert (await claims(ledger, of(server, "t.n"))).totals == (3,)
                assert isinstance(await claim(ledger, of(server, "t.n")), Exhausted)

    asyncio.run(test())


def test_names_are_carried_over_once(tmp_path: Path) -> None:
    path = tmp_path / "counters.db"
    old_store(path)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            await claims(ledger, of("a", "b/c.n"))
        async with ledger_in(SqliteStore(path)) as ledger:
            assert (await claims(ledger, of("a/b", "c.n"))).totals == (1,)

    asyncio.run(test())
