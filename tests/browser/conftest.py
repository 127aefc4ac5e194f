"""A Chromium for all tests here, and for each of them a listener, and pages whose complaints fail the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.desk import Desk
from tests.browser.serving import Serving
from tests.support.chromium import chromium


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here."""
    with chromium() as found:
        yield found


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """A listener with approvers, on an empty store."""
    found = Serving(tmp_path)
    yield found
    found.close()


@pytest.fixture
def desk(browser: Browser, serving: Serving) -> Iterator[Desk]:
    """Pages of one person; none of them may have complained at the end."""
    found = Desk(browser, serving.url)
    yield found
    complaints = found.complaints
    found.close()
    assert complaints == []
