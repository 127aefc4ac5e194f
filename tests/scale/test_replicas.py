"""Two sidecars behind nginx, as docs/http.md shows it: who may come to either, and who has to come back to the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from mcp import Client

from tests.scale.nginx import nginx
from tests.scale.replicas import decisions, metric, two_sidecars
from tests.support.listener import Listener
from tests.support.peer import denied
from tests.support.plain_http import STATELESS, OldSession, stateless_call
from tests.support.redis_server import RedisServer

TOOL = "test_simple_text"
LIMIT = 25
POLICY = f"default: allow\ntools: {{{TOOL}: {{rules: [{{name: day, rate_limit: {LIMIT}/day}}]}}}}\n"


@pytest.fixture
def pair(tmp_path: Path, redis_server: RedisServer) -> Iterator[tuple[Listener, Listener]]:
    """Two sidecars that count together, in a part of the Redis that is this test's own."""
    prefix = f"{tmp_path.name}:"
    with two_sidecars(tmp_path, POLICY, "--state-dsn", redis_server.dsn, "--state-prefix", prefix) as pair:
        yield pair


def test_limits_count_exactly_over_both_for_clients_without_sessions(
    tmp_path: Path, pair: tuple[Listener, Listener]
) -> None:
    with nginx(tmp_path / "nginx", [one.url for one in pair], affinity=False) as url, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: stateless_call(url, TOOL), range(2 * LIMIT)))
    assert {answer.status for answer in answers} == {200}
    refused = [denied(answer.message) for answer in answers]
    assert refused.count(None) == LIMIT
    assert set(refused) == {None, f"Rate limit of {LIMIT} per day reached. Try again later."}
    assert [decisions(one) for one in pair] == [LIMIT, LIMIT]


def test_a_client_of_the_sdk_without_sessions_works_with_round_robin(
    tmp_path: Path, pair: tuple[Listener, Listener]
) -> None:
    async def play(url: str) -> None:
        async with Client(url, mode=STATELESS) as client:
            for _ in range(4):
                assert not (await client.call_tool(TOOL)).is_error

    with nginx(tmp_path / "nginx", [one.url for one in pair], affinity=False) as url:
        asyncio.run(play(url))
    assert all(decisions(one) > 0 for one in pair)


def test_sessions_work_with_affinity_and_spread_by_address(tmp_path: Path, pair: tuple[Listener, Listener]) -> None:
    with nginx(tmp_path / "nginx", [one.url for one in pair], affinity=True) as url:
        for number in range(1, 13):
            session = OldSession(url, source=f"127.0.{number}.1")
            answers = [session.call(TOOL) for _ in range(2)]
            assert [(answer.status, denied(answer.message)) for answer in answers] == [(200, None)] * 2
    assert sum(metric(one, "sessions") for one in pair) == 12
    assert all(metric(one, "sessions") > 0 for one in pair)


def test_without_affinity_a_session_is_unknown_to_the_other_sidecar(
    tmp_path: Path, pair: tuple[Listener, Listener]
) -> None:
    with nginx(tmp_path / "nginx", [one.url for one in pair], affinity=False) as url:
        session = OldSession(url)
        assert session.hello.status == 200
        statuses = [session.call(TOOL).status for _ in range(4)]
    # Round robin: the other one, the one that knows it, and so on.
    assert statuses == [404, 200, 404, 200]
    assert sum(decisions(one) for one in pair) == 2
