"""Our bundle service: the one place that OPA gets policy from.

A loopback port, a bearer token made at start, an ETag, and long polling (OPA's bundle API): a bundle that is published
is in force some milliseconds later.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from typing import Final

from sidecar.listener import HttpRequest, HttpResponse, Listener
from sidecar.policy.bundle import Bundle, archive

RESOURCE: Final = "/bundles/intercept.tar.gz"
MAX_WAIT: Final = 60
"""Seconds for which a long poll is held at the most."""

# OPA takes this content type as the sign that long polling is understood.
_BUNDLE_TYPE = "application/vnd.openpolicyagent.bundles"


class BundleService:
    """Holds the bundle in force and hands it to whoever shows the token."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}".encode()
        self._archive = b""
        self._etag = ""
        self._published = asyncio.Event()
        self._listener: Listener | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a loopback port, a free one unless it is named, and return it. Raises OSError."""
        self._listener = await Listener.start(host, port, self._answer)
        return self._listener.port

    def publish(self, bundle: Bundle) -> None:
        """From now on this is the bundle; whoever waits for one gets it."""
        self._archive, self._etag = archive(bundle), f'"{bundle.revision}.{bundle.serial}"'
        self._published.set()
        self._published = asyncio.Event()

    async def close(self) -> None:
        """Stop serving."""
        if self._listener is not None:
            await self._listener.close()

    async def _answer(self, request: HttpRequest) -> HttpResponse:
        if not hmac.compare_digest(request.headers.get("authorization", "").encode(), self._authorization):
            return HttpResponse(401, b"a bearer token is needed\n")
        if request.path != RESOURCE:
            return HttpResponse(404, b"no such bundle\n")
        known = request.headers.get("if-none-match", "")
        if not self._archive or known == self._etag:
            await self._news(_wait_asked(request.headers.get("prefer", "")))
        headers = {"Content-Type": _BUNDLE_TYPE, "ETag": self._etag}
        if not self._archive or known == self._etag:
            return HttpResponse(304, b"", headers)
        return HttpResponse(200, self._archive, headers)

    async def _news(self, seconds: int) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._published.wait()
        except TimeoutError:
            return


def _wait_asked(prefer: str) -> int:
    """Seconds of waiting in a `Prefer: modes=snapshot,delta;wait=30` header."""
    found = re.search(r"\bwait=([0-9]{1,4})", prefer)
    return min(int(found[1]), MAX_WAIT) if found else 0
