"""One sidecar on each straight path for all tests of the folder, in front of an OPA that is watched."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import pytest

from programs.bench.contenders import SERVER
from tests.support.opa_tap import OpaTap
from tests.support.straight import PATHS, Straight, over

POLICY: Final = """
tools:
  read:
    rules:
      - conditions: [{path: args.sz, op: lte, value: 1000000000}]
  counted:
    rules:
      - rate_limit: 100000000/day
  spent:
    rules:
      - spend_limit: {path: args.amount, per_call: 1000, max: 100000000, window: day}
      - rate_limit: 100000000/hour
  twice:
    rules:
      - rate_limit: 2/day
  watched:
    rules:
      - conditions: [{path: state.counted._rate_day, op: lt, value: 100000000}]
"""


@pytest.fixture(scope="package", params=PATHS)
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Straight, OpaTap]]:
    folder = tmp_path_factory.mktemp(request.param)
    # Each look at the policy files wakes the sidecar, and the longer calls take the more there are.
    alone = "--no-watch"
    with OpaTap(folder) as tap, over(request.param, folder, POLICY, *tap.options, alone, server=SERVER) as way:
        yield way, tap


@pytest.fixture
def way(running: tuple[Straight, OpaTap]) -> Straight:
    """A sidecar on one of the paths."""
    return running[0]


@pytest.fixture
def tap(running: tuple[Straight, OpaTap]) -> OpaTap:
    """What goes to its OPA, counted from 0 in each test."""
    running[1].forget()
    return running[1]


@pytest.fixture
def new() -> Iterator[int]:
    """Numbers that no other test of this run asks about."""
    return NUMBERS


NUMBERS = itertools.count(1000)
