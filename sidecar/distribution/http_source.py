"""A bundle at a URL: an ETag saves the download, and a server that can hold a request until there is news is asked to.

Its tag is the hash of the content. An ETag is trusted only as far as the server can be: many make it of time and size,
and two bundles of one second look the same to them (RFC 9110, 8.8.2.2: a time is good only once it is past).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from sidecar.distribution.access import SAID, Access, authorization
from sidecar.distribution.file_source import tag_of
from sidecar.distribution.source import MAX_SIZE, Fetched
from sidecar.distribution.web import HOPS, Reply, Web, next_hop, shown_url
from sidecar.errors import NothingPublished, SourceUnavailable
from sidecar.http import origin

LONG_POLLS: Final = "application/vnd.openpolicyagent.bundles"
"""The content type by which a server says that it serves long polling (OPA's bundle API)."""
WAIT: Final = 30
"""Seconds that a server may hold a request."""
HELD: Final = 0.5
"""Seconds. What was answered sooner was not held: a server that only says that it waits is asked at intervals."""
LONGEST_ETAG: Final = 256
_SETTLED: Final = timedelta(seconds=2)


class HttpSource:
    """Asks for one URL, and follows redirects only on its server."""

    def __init__(self, url: str, access: Access) -> None:
        self.name = shown_url(url)
        self.waits = False
        self._url = url
        self._access = access
        self._web = Web(self.name)
        self._polls = False
        self._tag, self._etag = "", ""
        """The last content, and the ETag that stands for it as far as we trust it, else empty."""

    async def fetch(self, known: str) -> Fetched | None:
        """The bundle that is there now; None where it is the one with the tag `known`."""
        self.waits = False
        etag = self._etag if known and known == self._tag else ""
        holds = bool(self._polls and etag)
        began = asyncio.get_running_loop().time()
        reply = await self._ask(etag, WAIT if holds else 0)
        self._polls = reply.headers.get("content-type", "").partition(";")[0].strip().lower() == LONG_POLLS
        self.waits = holds and self._polls and asyncio.get_running_loop().time() - began >= HELD
        if reply.status == 304 and etag:
            return None
        self._must_be_one(reply)
        found = Fetched(reply.body, tag_of(reply.body))
        self._tag, self._etag = found.tag, _trusted_etag(reply)
        return None if found.tag == known else found

    async def close(self) -> None:
        """Drop its connections."""
        await self._web.close()

    async def _ask(self, etag: str, wait: int) -> Reply:
        headers = {"prefer": f"modes=snapshot;wait={wait}" if wait else "modes=snapshot"}
        if etag:
            headers["if-none-match"] = etag
        if shown := authorization(self._access.secret()):
            headers["authorization"] = shown
        url = self._url
        for _ in range(HOPS + 1):
            reply = await self._web.ask("GET", url, headers, most=MAX_SIZE, wait=wait)
            if not reply.redirects:
                return reply
            url = next_hop(reply, self.name)
            if origin.parse(url)[0] != origin.parse(self._url)[0]:
                headers.pop("authorization", None)  # at another port somebody else may serve
        raise SourceUnavailable(f"{self.name}: redirects again and again")

    def _must_be_one(self, reply: Reply) -> None:
        match reply.status:
            case 200:
                kind = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
                if kind in ("text/html", "application/xhtml+xml"):
                    raise SourceUnavailable(
                        f"{self.name}: answers with a web page, not with a bundle: does a login stand before it?"
                    )
            case 401 | 403:
                raise SourceUnavailable(f"{self.name}: does not let us in (status {reply.status}): set {SAID}")
            case 404 | 410:
                raise NothingPublished(
                    f"{self.name}: no bundle is there (status {reply.status}): "
                    f"write one with `sidecar policy publish FILE.tar.gz {self.name}`"
                )
            case _:
                raise SourceUnavailable(f"{self.name}: answers with status {reply.status}, not with a bundle")


def _trusted_etag(reply: Reply) -> str:
    """The ETag of an answer; empty where there is none, or where it may be made of a time that is not over yet."""
    etag = reply.headers.get("etag", "")
    if not (etag.isascii() and etag.isprintable() and len(etag) <= LONGEST_ETAG):
        return ""
    changed = _time(reply.headers.get("last-modified", ""))
    if changed is None:
        return etag
    now = _time(reply.headers.get("date", "")) or datetime.now(UTC)
    return etag if now - changed >= _SETTLED else ""


def _time(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # the second for numbers that no date has
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
