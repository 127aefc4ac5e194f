"""A sidecar on each straight path, under the `POLICY` of the module, in front of an OPA that is watched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.opa_tap import OpaTap
from tests.support.straight import PATHS, Straight, over


@pytest.fixture
def tap(tmp_path: Path) -> Iterator[OpaTap]:
    with OpaTap(tmp_path) as tap:
        yield tap


@pytest.fixture(params=PATHS)
def way(request: pytest.FixtureRequest, tmp_path: Path, tap: OpaTap) -> Iterator[Straight]:
    with over(request.param, tmp_path, request.module.POLICY, *tap.options) as way:
        yield way
