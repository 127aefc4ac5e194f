"""Publishes by HTTP PUT: the URL itself is the current bundle, and beside it stands a copy for each serial.

Conditions are sent (`If-None-Match`, `If-Match`), and most plain servers ignore them: so what was written is read back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from sidecar.distribution.access import SAID, Access, authorization
from sidecar.distribution.destination import NoCopy, Taken, settled
from sidecar.distribution.label import Label
from sidecar.distribution.source import MAX_SIZE
from sidecar.distribution.web import Reply, Web, shown_url
from sidecar.errors import SourceUnavailable

_ENDING = ".tar.gz"
_NONE = frozenset({404, 410})
_NOT_SERVED = frozenset({403, 404, 405, 409, 410})
"""Answers of a server that has one name only."""


class HttpDestination:
    """Follows no redirect: what is written must be where sidecars look."""

    def __init__(self, url: str, access: Access) -> None:
        self.name = shown_url(url)
        self._url = url
        self._access = access
        self._web = Web(self.name)

    async def current(self) -> bytes | None:
        """The bundle that sidecars fetch now."""
        reply = await self._ask("GET", self._url)
        if reply.status in _NONE:
            return None
        self._must_be_good(reply, "GET", 200)
        return reply.body

    async def of_serial(self, serial: int) -> bytes | None:
        """The bundle that was published under a serial."""
        reply = await self._ask("GET", copy_of(self._url, serial))
        if reply.status in _NOT_SERVED:
            return None
        self._must_be_good(reply, "GET", 200)
        return reply.body

    async def keep(self, serial: int, data: bytes, label: Label) -> None:
        """Write the bundle of a serial. Raises `Taken` where another one is, `NoCopy` where the server takes none."""
        url = copy_of(self._url, serial)
        began = asyncio.get_running_loop().time()
        reply = await self._ask("PUT", url, {"if-none-match": "*"}, data)
        if reply.status == 412:
            raise Taken(f"{self.name}: has serial {serial}")
        if reply.status in _NOT_SERVED:
            raise NoCopy(
                f"{self.name}: takes no copy for each serial (status {reply.status} for {shown_url(url)}): only the "
                "sidecars now refuse a serial that comes with other content, and --rollback needs a file"
            )
        self._must_be_good(reply, "PUT", 200, 201, 204)
        await self._read_back(url, data, began)

    async def replace(self, old: bytes | None, data: bytes, label: Label) -> None:
        """Make this the bundle that sidecars fetch. Raises `Taken` where another one came first."""
        began = asyncio.get_running_loop().time()
        reply = await self._ask("GET", self._url)
        if (reply.body if reply.status == 200 else None) != old:
            raise Taken(f"{self.name}: somebody else published")
        etag = reply.headers.get("etag", "")
        condition = {"if-none-match": "*"} if old is None else {"if-match": etag} if etag.startswith('"') else {}
        reply = await self._ask("PUT", self._url, condition, data)
        if reply.status == 412:
            raise Taken(f"{self.name}: somebody else published")
        self._must_be_good(reply, "PUT", 200, 201, 204)
        await self._read_back(self._url, data, began)

    async def close(self) -> None:
        """Drop its connections."""
        await self._web.close()

    async def _read_back(self, url: str, data: bytes, began: float) -> None:
        await settled(began)
        reply = await self._ask("GET", url)
        self._must_be_good(reply, "GET", 200)
        if reply.body != data:
            raise Taken(f"{self.name}: has another bundle than the one that was written")

    async def _ask(self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Reply:
        shown = authorization(self._access.secret())
        said = {"authorization": shown} if shown else {}
        kind = {"content-type": "application/gzip"} if body else {}
        return await self._web.ask(method, url, {**kind, **(headers or {}), **said}, body=body, most=MAX_SIZE)

    def _must_be_good(self, reply: Reply, method: str, *good: int) -> None:
        if reply.status in (401, 403):
            raise SourceUnavailable(f"{self.name}: does not let us in (status {reply.status} for {method}): set {SAID}")
        if reply.status not in good:
            raise SourceUnavailable(f"{self.name}: answers {method} with status {reply.status}")


def copy_of(url: str, serial: int) -> str:
    """Where the copy of a serial is: `bundle.serial-7.tar.gz` beside `bundle.tar.gz`."""
    path, question, query = url.partition("?")
    named = f"{path.removesuffix(_ENDING)}.serial-{serial}{_ENDING}" if path.endswith(_ENDING) else ""
    return f"{named or f'{path}.serial-{serial}'}{question}{query}"
