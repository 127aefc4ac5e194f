"""Pages of HTML as values: what they name, lead to, load and show."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_LOADS: Final = {"img": "src", "script": "src", "source": "srcset", "iframe": "src", "video": "src", "object": "data"}
"""Elements that have a browser fetch something, and the attribute that says what."""
_LINKS: Final = ("stylesheet", "icon", "preload", "manifest")
"""What `<link>` fetches."""


@dataclass
class Page:
    """What a page has: anchors by name, where it leads, what it loads, and pictures without a text."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)


def pages(folder: Path) -> dict[Path, Page]:
    """The pages of a site, by their files."""
    return {path: read(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.html"))}


def read(html: str) -> Page:
    """What one page has."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page


def is_outside(link: str) -> bool:
    """True for what is at another host."""
    split = urlsplit(link)
    return bool(split.scheme or split.netloc)


def target(page: Path, link: str) -> tuple[Path, str]:
    """The file that a link of a page leads to, and the anchor in it, empty for its beginning."""
    split = urlsplit(link)
    path = (page.parent / unquote(split.path)).resolve() if split.path else page
    return path, unquote(split.fragment)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.page = Page()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        self.page.anchors |= {has[name] for name in ("id", "name") if has.get(name)}
        if tag == "a" and "href" in has:
            self.page.links.append(has["href"])
        if has.get(_LOADS.get(tag, "-")):
            self.page.loads.append(has[_LOADS[tag]])
        if tag == "link" and set(has.get("rel", "").split()) & set(_LINKS):
            self.page.loads.append(has["href"])
        if tag == "meta" and has.get("http-equiv") == "refresh":
            self.page.links.append(has["content"].partition("url=")[2])
        if tag == "img" and not has.get("alt", "").strip():
            self.page.silent.append(has.get("src", ""))
