"""The site, built as `make docs` builds it, and a Chromium."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site.pages import Page, pages
from tests.support import ROOT
from tests.support.chromium import chromium

BUILD = ("sphinx.cmd.build", "--quiet", "--fail-on-warning", "--keep-going", "-c", "docs/site")


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site. Sphinx may not have warned of anything."""
    made = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", *BUILD, "-d", made / "pages", ".", made / "site"], cwd=ROOT, capture_output=True,
        text=True, timeout=600, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return made / "site"


@pytest.fixture(scope="package")
def site(folder: Path) -> dict[Path, Page]:
    """What is on each page, by its file."""
    return pages(folder)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests here."""
    with chromium() as found:
        yield found
