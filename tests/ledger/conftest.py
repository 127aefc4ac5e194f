"""The stores that every test of a ledger's behaviour runs on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ledger.stores import RedisStore, SqliteStore, Store
from tests.support.redis_server import RedisServer

NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", "redis"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Makes stores that nothing stands in."""
    if request.param == "sqlite":
        return lambda: SqliteStore(tmp_path / f"counters-{next(NUMBERS)}.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return lambda: RedisStore(server.dsn, f"test-{next(NUMBERS)}:")


@pytest.fixture
def store(fresh: Callable[[], Store]) -> Store:
    """A store that nothing stands in."""
    return fresh()
