"""Our bundle server: the one place that OPA gets policy from.

It has a loopback port, a bearer token made at start, an ETag and long polling (OPA's bundle API): a published bundle is
in force some milliseconds later. The token says who may read a bundle; the signature proves that a bundle is ours.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from dataclasses import dataclass, field
from typing import Final

from sidecar.engine.sign import SigningKey, signed
from sidecar.http.endpoint import serve_gets
from sidecar.http.exchange import text
from sidecar.http.server import HttpServer
from sidecar.http.values import Headers, Request, Response
from sidecar.policy import archive
from sidecar.policy.bundle import ROOT, Bundle, rooted

RESOURCE: Final = "/bundles/intercept.tar.gz"
MAX_WAIT: Final = 60
"""The most seconds that a long poll is held."""

# By this content type OPA sees that the server supports long polling.
_BUNDLE_TYPE = "application/vnd.openpolicyagent.bundles"


@dataclass(frozen=True, slots=True)
class Packed:
    """A bundle as OPA gets it, signed."""

    data: bytes = field(repr=False)
    etag: str


class BundleServer:
    """Holds the bundle in force, signed with `key`, and hands it to whoever shows the token.

    `root` is what the bundle owns in OPA: `ROOT`, or `EVERY_PATH` where only the bundle keeps others from writing.
    """

    def __init__(self, token: str, key: SigningKey, root: str = ROOT) -> None:
        self._key = key
        self._root = root
        self._authorization = f"Bearer {token}".encode()
        self.published = Packed(b"", "")
        """What was published last."""
        self._published = asyncio.Event()
        self._server: HttpServer | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen on a loopback port, a free one unless it is named, and return it. Raises OSError."""
        self._server = await serve_gets(host, port, self._answer, admit=self._admit)
        return self._server.port

    def packed(self, bundle: Bundle) -> Packed:
        """The bundle as OPA gets it. That of ten thousand rules takes half a second, in any thread."""
        files = signed(rooted(bundle.files, self._root), self._key)
        return Packed(archive.write(files), f'"{bundle.revision}.{bundle.serial}"')

    def publish(self, bundle: Packed) -> None:
        """Make this the bundle in force; long polls that wait get it now."""
        self.published = bundle
        self._published.set()
        self._published = asyncio.Event()

    async def close(self) -> None:
        """Stop serving."""
        if self._server is not None:
            # Without a grace period: OPA always has a long poll open.
            await self._server.close(0)

    def _admit(self, method: str, target: str, headers: Headers) -> Response | None:
        # Checked on the head alone, so that nobody without the token can take up a connection that OPA needs.
        shown = (headers.get("authorization") or "").encode()
        return None if hmac.compare_digest(shown, self._authorization) else text(401, "a bearer token is needed")

    async def _answer(self, request: Request) -> Response:
        if request.path != RESOURCE:
            return text(404, "no such bundle")
        known = request.headers.get("if-none-match")
        if not self.published.data or known == self.published.etag:
            await self._news(_wait_asked(", ".join(request.headers.all("prefer"))))
        bundle = self.published
        headers = (("content-type", _BUNDLE_TYPE), ("etag", bundle.etag))
        if not bundle.data or known == bundle.etag:
            return Response(304, headers)
        return Response(200, headers, bundle.data)

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
