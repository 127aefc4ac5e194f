"""The stores that every test of a ledger's behaviour runs on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.ledger import redis_connection
from tests.ledger.stores import RedisStore, SqliteStore, Store
from tests.support.peer import SECONDS
from tests.support.redis_server import RedisServer

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _patience_with_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may keep an answer longer than a call would wait; tests of that wait set times of their own."""
    for seconds in ("CONNECT_SECONDS", "ANSWER_SECONDS", "PATIENCE"):
        monkeypatch.setattr(redis_connection, seconds, SECONDS)


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
