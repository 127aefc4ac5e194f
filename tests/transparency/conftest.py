"""One connection for all tests of a way, and one listening server of each kind for all ways."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.transparency.connection import Connection, Servers, connect
from tests.transparency.ways import Way


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run on asyncio, in one loop from the first test to the last, so that connections can stay open."""
    return "asyncio"


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The servers that listen."""
    with ExitStack() as stack:
        yield Servers(tmp_path_factory.mktemp("servers"), stack)


@pytest.fixture(scope="session")
async def connection(
    request: pytest.FixtureRequest, servers: Servers, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Connection]:
    """A client and a server at the ends of a way (`every_way`, `legacy_ways`, `modern_ways`)."""
    way: Way = request.param
    async with connect(way, servers, tmp_path_factory.mktemp(str(way))) as connection:
        yield connection


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the programs between the two ends said, where a test fails."""
    report = yield
    if report.failed and isinstance(connection := item.funcargs.get("connection"), Connection):
        report.sections.append(("what was said between the two ends", connection.said))
    return report


@pytest.fixture(autouse=True)
def _forgotten(connection: Connection) -> None:
    connection.heard.forget()
