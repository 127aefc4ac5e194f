"""The site in Chromium, from a folder on disk and without a network: on a phone, in the dark, and its search."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.site.pages import Page

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

WIDTH_OF_A_PHONE = 380
WIDEST = "Math.max(...[...document.querySelectorAll('html, body, .content')].map(one => one.scrollWidth))"
"""The theme lets what is too wide scroll in `.content`, which then moves the whole page."""


def test_no_page_is_wider_than_a_phone(folder: Path, site: dict[Path, Page], browser: Browser) -> None:
    page = browser.new_page(viewport={"width": WIDTH_OF_A_PHONE, "height": 800})
    wide = {}
    for path in site:
        if path.name == "index.html" and path.parent == folder:
            continue  # leads on at once
        page.goto(path.as_uri(), wait_until="load")
        width = page.evaluate(WIDEST)
        if width > WIDTH_OF_A_PHONE:
            wide[str(path.relative_to(folder))] = width
    assert wide == {}
    page.goto((folder / "docs" / "index.html").as_uri(), wait_until="load")
    page.locator("article h1").evaluate("one => { one.style.width = '900px' }")
    assert page.evaluate(WIDEST) > WIDTH_OF_A_PHONE  # else it could not fail
    page.close()


def test_nothing_but_files_is_asked_for_and_no_script_complains(folder: Path, browser: Browser) -> None:
    page = browser.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    for name in ("404.html", "docs/policy.html", "README.html", "docs/observability.html"):
        page.goto((folder / name).as_uri(), wait_until="load")
    page.close()
    assert len(asked) > 10
    assert [url for url in asked if not url.startswith("file:///")] == []
    assert complaints == []


def test_the_page_for_what_is_not_there_leads_to_the_front(folder: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto((folder / "404.html").as_uri())
    assert page.locator("#front").evaluate("one => one.href") == f"{folder.as_uri()}/"
    page.close()


def test_search_finds_a_page_without_a_server(folder: Path, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"{(folder / 'search.html').as_uri()}?q=spend_limit")
    # One result after the other is shown.
    page.wait_for_function(
        "path => [...document.querySelectorAll('#search-results ul.search li a')].some(one => one.pathname === path)",
        arg=str(folder / "docs" / "policy.html"),
    )
    page.close()


@pytest.mark.parametrize(("system", "chosen", "dark"), [
    ("dark", "auto", True), ("light", "auto", False), ("light", "dark", True), ("dark", "light", False),
])  # fmt: skip
def test_a_picture_is_dark_where_its_page_is(
    folder: Path, browser: Browser, system: str, chosen: str, dark: bool
) -> None:
    context = browser.new_context(color_scheme="dark" if system == "dark" else "light")
    page = context.new_page()
    page.add_init_script(f"localStorage.setItem('theme', '{chosen}')")
    page.goto((folder / "README.html").as_uri(), wait_until="load")
    picture = page.locator("article picture img").first
    picture.scroll_into_view_if_needed()
    page.wait_for_function(
        "([image, dark]) => image.currentSrc.includes('dark') === dark", arg=[picture.element_handle(), dark]
    )
    context.close()
