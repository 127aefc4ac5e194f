"""The site as files: every link leads somewhere, nothing comes from another host, anchors are those of git hosts."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.site.pages import Page, is_outside, read, target
from tests.support import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SOURCES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "runbooks").glob("*.md")])


def broken(path: Path, page: Page, site: dict[Path, Page]) -> list[str]:
    """The links of a page, and what it loads, that lead to no file of the site or to no anchor there."""
    return [link for link in (*page.links, *page.loads) if not is_outside(link) and not _leads(path, link, site)]


def _leads(path: Path, link: str, site: dict[Path, Page]) -> bool:
    if link == "/" and path.name == "404.html":
        return True  # it is shown at any depth, and a script finds the front page
    file, anchor = target(path, link)
    return file.is_file() and (not anchor or (file in site and anchor in site[file].anchors))


def test_every_document_is_a_page_at_the_place_that_it_has_in_the_repository(
    folder: Path, site: dict[Path, Page]
) -> None:
    assert len(SOURCES) > 60
    wanted = {folder / source.relative_to(ROOT).with_suffix(".html") for source in SOURCES}
    assert set(site) - wanted == {folder / name for name in ("index.html", "404.html", "search.html")}
    assert wanted - set(site) == set()


def test_every_link_leads_to_a_page_or_a_file_and_to_an_anchor_there(site: dict[Path, Page]) -> None:
    assert sum(len(page.links) for page in site.values()) > 5000
    found = {str(path): links for path, page in site.items() if (links := broken(path, page, site))}
    assert found == {}


@pytest.mark.parametrize("link", ["policies.html", "policy.html#no-such-heading", "../README.html#no", "images/no.png"])
def test_a_link_that_leads_nowhere_is_noticed(folder: Path, site: dict[Path, Page], link: str) -> None:
    path = folder / "docs" / "index.html"
    assert broken(path, read(f'<a href="{link}">x</a><a href="policy.html#conditions">y</a>'), site) == [link]


def test_the_root_leads_to_the_front_page(folder: Path, site: dict[Path, Page]) -> None:
    assert set(site[folder / "index.html"].links) == {"docs/index.html"}


def test_nothing_is_loaded_from_another_host(folder: Path, site: dict[Path, Page]) -> None:
    assert {load for page in site.values() for load in page.loads if is_outside(load)} == set()
    drawn = (path for form in ("*.css", "*.svg") for path in folder.rglob(form))
    styles = "".join(path.read_text(encoding="utf-8") for path in drawn)
    assert styles
    assert re.findall(r"url\(\s*['\"]?(?!data:)[a-z]*:?//[^)]*\)|@import[^;]*", styles) == []


def test_what_a_page_would_load_from_another_host_is_noticed() -> None:
    page = read(
        '<link rel="stylesheet" href="//fonts.example/a.css"><script src="https://cdn.example/a.js"></script>'
        '<picture><source srcset="http://cdn.example/a.png"><img src="a.png" alt="A"></picture>'
    )
    assert [is_outside(load) for load in page.loads] == [True, True, True, False]


def test_links_to_other_hosts_are_whole_and_encrypted(site: dict[Path, Page]) -> None:
    outside = {link for page in site.values() for link in page.links if is_outside(link)}
    assert len(outside) > 10
    assert {link for link in outside if not _is_good(link)} == set()


def _is_good(link: str) -> bool:
    split = urlsplit(link)
    return split.scheme == "https" and "." in (split.hostname or "") and re.fullmatch(r"[!-~]+", link) is not None


def test_every_picture_has_a_text(site: dict[Path, Page]) -> None:
    assert {str(path): page.silent for path, page in site.items() if page.silent} == {}
    assert read('<img src="a.png"><img src="b.png" alt=" "><img src="c.png" alt="C">').silent == ["a.png", "b.png"]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_a_heading_has_the_anchor_that_git_hosts_give_it(folder: Path, site: dict[Path, Page], source: Path) -> None:
    text = re.sub(r"^ *```.*?^ *```", "", source.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    assert headings
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    wanted = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in plain}
    assert wanted - site[folder / source.relative_to(ROOT).with_suffix(".html")].anchors == set()
