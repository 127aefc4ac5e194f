"""Rules that read a counter, on the wire: each call that passes was judged by the total that it was forwarded at."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.peer import Sidecar, denied
from tests.support.redis_server import RedisServer

POLICY = """
tools:
  once:
    rules:
      - name: once a day
        state: {counter: n, window: day}
        conditions: [{path: state.once.n, op: eq, value: 0}]
  apart:
    rules:
      - {state: {counter: n, window: day}}
      - {conditions: [{path: state.apart.n, op: lt, value: 3}]}
  transfer:
    rules: [{state: {counter: volume, window: day, increment_from: args.amount}}]
  refund:
    rules: [{conditions: [{path: state.transfer.volume, op: lt, value: 100}]}]
"""
TRANSFER: dict[str, Any] = {"amount": 500}

Start: TypeAlias = Callable[[str], Sidecar]


@pytest.fixture(params=["sqlite", "redis"])
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Start:
    """Starts sidecars on one store."""

    def start(name: str) -> Sidecar:
        folder = tmp_path / name
        folder.mkdir()
        if request.param == "sqlite":
            return Sidecar(folder, POLICY, "--server", "stub", state=tmp_path / "state")
        server: RedisServer = request.getfixturevalue("redis_server")
        prefix = f"{tmp_path.name}-{request.node.name.partition('[')[0]}:"
        return Sidecar(folder, POLICY, store=["--state-dsn", server.dsn, "--state-prefix", prefix, "--server", "stub"])

    return start


def together(sidecar: Sidecar, tool: str, number: int) -> int:
    """How many of so many calls pass that are all in flight together."""
    for _ in range(number):
        sidecar.post("tools/call", {"name": tool, "arguments": {}})
    return sum(denied(sidecar.read()) is None for _ in range(number))


@pytest.mark.parametrize(("tool", "limit"), [("once", 1), ("apart", 3)])
def test_of_many_calls_in_flight_as_many_pass_as_the_total_that_they_read_allows(
    start: Start, tool: str, limit: int
) -> None:
    with start("one") as sidecar:
        assert together(sidecar, tool, 20) == limit
        assert len(sidecar.received) == limit


def test_a_call_that_takes_nothing_does_not_pass_behind_one_that_moves_what_it_reads(start: Start) -> None:
    with start("one") as sidecar:
        for _ in range(5):
            sidecar.post("tools/call", {"name": "transfer", "arguments": TRANSFER})
            sidecar.post("tools/call", {"name": "refund", "arguments": {}})
        passed = sum(denied(sidecar.read()) is None for _ in range(10))
        names = [json.loads(line)["params"]["name"] for line in sidecar.received]
        assert len(names) == passed
        assert names.count("transfer") == 5
        assert "refund" not in names[names.index("transfer") :]


@pytest.mark.parametrize(("tool", "limit"), [("once", 1), ("apart", 3)])
def test_two_sidecars_on_one_store_together_let_through_what_the_total_allows(
    start: Start, tool: str, limit: int
) -> None:
    with start("one") as one, start("other") as other, ThreadPoolExecutor(2) as threads:
        passed = list(threads.map(lambda sidecar: together(sidecar, tool, 20), (one, other)))
        assert sum(passed) == len(one.received) + len(other.received) == limit
