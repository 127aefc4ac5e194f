"""Serials only rise, and each belongs to one content, for all sidecars that share a store."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import redis

from sidecar.distribution.floor import SerialFloor
from sidecar.errors import BundleRefused, StoreUnavailable
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.policy.bundle import Bundle
from tests.engine.asking import bundle_of
from tests.ledger.stores import Clock, RedisStore, SqliteStore, Store, ledger_in
from tests.support.redis_server import RedisServer

FIVE = bundle_of("default: allow\n", 5)
SIX = bundle_of("default: deny\n", 6)
OTHER_SIX = bundle_of("mode: monitor\n", 6)


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "counters.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return RedisStore(server.dsn, f"{tmp_path.name}:")


def refusals(store: Store, *bundles: Bundle, server: str = "okx") -> list[str]:
    """Why each is refused, empty where it is not; the store is opened anew for each."""

    async def refusal(bundle: Bundle) -> str:
        async with ledger_in(store) as ledger:
            try:
                await SerialFloor(ledger, server).rise(bundle)
            except BundleRefused as error:
                return error.kind if "`sidecar policy " in str(error) else "without what to do"
            return ""

    async def every() -> list[str]:
        return [await refusal(bundle) for bundle in bundles]

    return asyncio.run(every())


def test_an_older_bundle_is_refused_also_after_a_start(store: Store) -> None:
    assert refusals(store, FIVE, SIX, FIVE, SIX) == ["", "", "older", ""]


def empty(store: Store) -> None:
    """Have the store know of no bundle, as after a failover to one that is behind."""
    match store:
        case SqliteStore(path):
            with closing(sqlite3.connect(path)) as db, db:
                assert db.execute("DELETE FROM admitted").rowcount == 1
        case RedisStore(dsn):
            with redis.Redis.from_url(dsn, decode_responses=True) as client:
                assert client.delete(*(key for key in store.keys(client) if "|bundle|" in key)) == 1


def test_a_serial_belongs_to_the_content_that_had_it_first(store: Store) -> None:
    assert refusals(store, SIX, OTHER_SIX, SIX) == ["", "conflict", ""]


def test_each_server_has_a_floor_of_its_own(store: Store) -> None:
    assert refusals(store, SIX) == [""]
    assert refusals(store, FIVE, server="another") == [""]


def test_a_store_that_was_emptied_lowers_nothing_while_somebody_remembers(store: Store) -> None:
    async def test() -> None:
        async with ledger_in(store) as ledger:
            floor = SerialFloor(ledger, "okx")
            await floor.rise(SIX)
            empty(store)
            for bundle, kind in ((FIVE, "older"), (OTHER_SIX, "conflict")):
                with pytest.raises(BundleRefused) as refused:
                    await floor.rise(bundle)
                assert refused.value.kind == kind
            # And who asks only now hears of it again.
            with pytest.raises(BundleRefused):
                await SerialFloor(ledger, "okx").rise(FIVE)
            await floor.rise(SIX)

    asyncio.run(test())


def test_where_the_store_cannot_say_nothing_is_admitted(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "counters.db"
        ledger = SqliteLedger(path, Clock())
        path.unlink()
        with pytest.raises(StoreUnavailable):
            await SerialFloor(ledger, "okx").rise(SIX)
        await ledger.close()

    asyncio.run(test())
