"""Fixtures that tests in several folders use, and how properties are tried: by what holds, never by the clock."""

from __future__ import annotations

import hypothesis
import pytest
from xdist.remote import Producer

from tests.support.redis_server import redis_server
from tests.workers import ByFile, longest_first

__all__ = ["redis_server"]

hypothesis.settings.register_profile("project", deadline=None)
hypothesis.settings.load_profile("project")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Share the tests out by files."""
    config.option.loadscopereorder = False  # else by the number of tests, which says little of the time
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)  # after pytest has put together what shares a connection
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first."""
    items[:] = longest_first(items)
