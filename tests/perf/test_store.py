"""What is asked of the store of counters: one round trip for a call that is counted, none for any other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from programs.bench.contenders import SERVER
from tests.perf.conftest import POLICY
from tests.perf.counting import round_trips, transactions
from tests.support.opa_tap import OpaTap
from tests.support.peer import kind
from tests.support.redis_server import RedisServer
from tests.support.straight import PATHS, Straight, over, passed

TOGETHER = 32
PREFIXES = itertools.count()


# SQLite.


def test_a_counted_call_is_one_transaction(way: Straight) -> None:
    way.passes("counted")
    before = transactions(way.state)
    for _ in range(20):
        way.passes("counted")
    assert transactions(way.state) - before == 20


def test_a_call_that_several_limits_count_is_one_transaction(way: Straight, new: Iterator[int]) -> None:
    way.passes("spent", amount=1)
    before = transactions(way.state)
    for _ in range(20):
        way.passes("spent", amount=next(new) % 1000)
    assert transactions(way.state) - before == 20


def test_a_call_that_is_not_counted_is_no_transaction(way: Straight, new: Iterator[int]) -> None:
    way.passes("counted")
    before = transactions(way.state)
    for _ in range(20):
        way.passes("free")
        way.passes("read", sz=next(new))
        assert kind(way.call("read", sz="not a number")) == "rule"
    assert transactions(way.state) == before


def test_a_call_beyond_its_limit_is_no_transaction(way: Straight) -> None:
    while passed(way.call("twice")):
        pass
    before = transactions(way.state)
    assert [kind(way.call("twice")) for _ in range(20)] == ["rate_limit"] * 20
    assert transactions(way.state) == before


def test_counted_calls_of_one_portion_share_one_transaction(way: Straight) -> None:
    way.passes("counted")
    before = transactions(way.state)
    assert all(map(passed, way.together([("counted", {})] * TOGETHER)))
    assert transactions(way.state) - before <= way.portions_of(TOGETHER)


# Redis.


@pytest.fixture(scope="module", params=PATHS)
def on_redis(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer
) -> Iterator[Straight]:
    """A sidecar that counts in Redis."""
    folder = tmp_path_factory.mktemp(request.param)
    store = ["--state-dsn", redis_server.dsn, "--state-prefix", f"perf-{next(PREFIXES)}:", "--server", "straight"]
    with OpaTap(folder) as tap, over(request.param, folder, POLICY, *tap.options, server=SERVER, store=store) as way:
        yield way


def test_a_counted_call_is_one_round_trip(on_redis: Straight, redis_server: RedisServer, new: Iterator[int]) -> None:
    with round_trips(redis_server) as trips:
        for _ in range(20):
            on_redis.passes("counted")
            on_redis.passes("spent", amount=next(new) % 1000)
    assert trips.commands == ["EVALSHA"] * 40


def test_counted_calls_that_arrive_together_are_no_more_round_trips(
    on_redis: Straight, redis_server: RedisServer
) -> None:
    with round_trips(redis_server) as trips:
        assert all(map(passed, on_redis.together([("counted", {})] * TOGETHER)))
    assert set(trips.commands) == {"EVALSHA"}
    assert len(trips.commands) <= TOGETHER


def test_a_call_beyond_its_limit_is_one_round_trip(on_redis: Straight, redis_server: RedisServer) -> None:
    while passed(on_redis.call("twice")):
        pass
    with round_trips(redis_server) as trips:
        assert [kind(on_redis.call("twice")) for _ in range(20)] == ["rate_limit"] * 20
    assert trips.commands == ["EVALSHA"] * 20


def test_a_rule_that_reads_a_counter_is_one_look_and_one_claim(on_redis: Straight, redis_server: RedisServer) -> None:
    with round_trips(redis_server) as trips:
        for _ in range(20):
            on_redis.passes("watched")
    assert trips.commands == ["EVALSHA"] * 40  # the claim compares what the look saw


def test_a_call_that_is_not_counted_is_no_round_trip(
    on_redis: Straight, redis_server: RedisServer, new: Iterator[int]
) -> None:
    with round_trips(redis_server) as trips:
        for _ in range(20):
            on_redis.passes("free")
            on_redis.passes("read", sz=next(new))
            assert kind(on_redis.call("read", sz="not a number")) == "rule"
    assert trips.commands == []
