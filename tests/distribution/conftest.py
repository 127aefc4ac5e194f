"""Real places for bundles, one of each for all tests; each test keeps to a name of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.nginx import nginx
from tests.support.ports import free_port
from tests.support.registry import registry

KINDS = ("directory", "http", "oci")


@pytest.fixture(scope="module")
def www(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `dav` serves."""
    return tmp_path_factory.mktemp("www")


@pytest.fixture(scope="module")
def dav(www: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an nginx that takes PUT."""
    port = free_port()
    block = f"server {{ listen 127.0.0.1:{port}; root {www}; dav_methods PUT; create_full_put_path on; }}"
    with nginx(tmp_path_factory.mktemp("nginx"), block, port):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a registry."""
    with registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """A place of a kind that nobody has published to."""

    def named(kind: str) -> str:
        match kind:
            case "http":
                return f"{request.getfixturevalue('dav')}/{tmp_path.name}/b.tar.gz"
            case "oci":
                return f"oci://{request.getfixturevalue('host')}/{tmp_path.name.lower().replace('_', '-')}"
        return str(tmp_path / "published")

    return named
