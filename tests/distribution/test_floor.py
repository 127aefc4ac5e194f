"""Serials only rise, and each belongs to one content, for all sidecars that share a store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

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


def test_a_serial_belongs_to_the_content_that_had_it_first(store: Store) -> None:
    assert refusals(store, SIX, OTHER_SIX, SIX) == ["", "conflict", ""]


def test_each_server_has_a_floor_of_its_own(store: Store) -> None:
    assert refusals(store, SIX) == [""]
    assert refusals(store, FIVE, server="another") == [""]


def test_where_the_store_cannot_say_nothing_is_admitted(tmp_path: Path) -> None:
    async def test() -> None:
        path = tmp_path / "counters.db"
        ledger = SqliteLedger(path, Clock())
        path.unlink()
        with pytest.raises(StoreUnavailable):
            await SerialFloor(ledger, "okx").rise(SIX)
        await ledger.close()

    asyncio.run(test())
