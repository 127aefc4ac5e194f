"""A Chromium for all tests here, and for each of them a listener, and pages whose complaints fail the test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.desk import Desk
from tests.browser.serving import Serving


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Debian's Chromium: nothing is downloaded. It runs an event loop, so it ends before the tests of others begin."""
    path = which("chromium")
    assert path is not None, "these tests need chromium: make chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield found
        found.close()


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
