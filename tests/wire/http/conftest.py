"""One sidecar of each kind for a whole module: relay to a hostile server, in front of a child, legacy HTTP+SSE."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.listener import Listener
from tests.wire.http.running import running
from tests.wire.http.server import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture(autouse=True)
def _anew(upstream: Upstream) -> None:
    """Each test sees only what the server was asked in it, by a server that behaves until it is told otherwise."""
    upstream.seen.clear()
    upstream.says.clear()


@pytest.fixture(scope="module")
def relay(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with running(tmp_path_factory.mktemp("relay"), "--upstream", upstream.url) as listener:
        yield listener
        assert_quiet(listener)


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sidecar in front of a child; there the child's log is."""
    return tmp_path_factory.mktemp("child")


@pytest.fixture(scope="module")
def hosted(child: Path) -> Iterator[Listener]:
    with running(child) as listener:
        yield listener
        assert_quiet(listener)


@pytest.fixture(scope="module")
def legacy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    with running(tmp_path_factory.mktemp("legacy"), transport="sse") as listener:
        yield listener
        assert_quiet(listener)


def assert_quiet(listener: Listener) -> None:
    """No defect of ours was told on the error stream, whatever was done to it, and it still runs."""
    assert listener.process.poll() is None
    assert "Traceback" not in listener.errors
    assert "internal error" not in listener.errors
