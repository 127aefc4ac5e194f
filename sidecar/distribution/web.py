"""HTTP to whoever has bundles: bounded in bytes and in time, and every failure is one plain line.

It follows no redirect by itself, keeps no cookie, takes nothing from the environment (proxies, `.netrc`, certificates
in `SSL_CERT_FILE` aside, which OpenSSL reads), and never undoes a content encoding.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import httpx

from sidecar.auth.hosts import is_loopback
from sidecar.distribution.source import MAX_SIZE
from sidecar.errors import BundleRefused, SourceUnavailable
from sidecar.http import origin
from sidecar.text import shown, visible

CONNECT: Final = 5.0
HEAD: Final = 10.0
"""Seconds until the head of an answer is there."""
BODY: Final = 60.0
"""Seconds for the whole body, however steadily it drips."""
SMALL: Final = 64 << 10
"""Bytes of an answer that is no bundle: a token, an error."""
MAX_PIECES: Final = 50_000
"""Pieces in which a body may come: so many, of a packet each, are twice the longest."""
IN_ONE_GO: Final = 32
"""Pieces that are taken before others have their turn: of those that arrived together none has to be waited for."""
HOPS: Final = 3
"""Redirects that are followed one after the other."""

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_AS_IT_IS: Final = frozenset({"", "identity", "gzip", "x-gzip"})
"""Content encodings under which the bytes on the way are the bundle: some servers call a `.tar.gz` encoded."""

# They log whole URLs, and one may be signed, which makes it a secret.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a server answered: names of headers in lower case. `url` is where it was asked."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    url: str = field(repr=False)

    @property
    def redirects(self) -> bool:
        """True if it sends us elsewhere."""
        return self.status in _REDIRECTS and "location" in self.headers


class Web:
    """Connections to the servers of one place, `name` in messages."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._client: httpx.AsyncClient | None = None

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        body: bytes = b"",
        most: int = SMALL,
        wait: float = 0,
    ) -> Reply:
        """One request, and the answer to it, which the server may hold for `wait` seconds.

        Of a good one at most `most` bytes are read, of others a few.

        Raises `SourceUnavailable`, and `BundleRefused` of kind `too_large` where a good answer is longer.
        """
        client = self._opened()
        fixed = {"user-agent": "intercept-sidecar", "accept-encoding": "identity", "accept": "*/*"}
        try:
            request = client.build_request(method, url, headers=fixed | dict(headers), content=body or None)
            async with asyncio.timeout(HEAD + wait + (BODY if body else 0)):
                response = await client.send(request, stream=True)
            try:
                async with asyncio.timeout(BODY):
                    return Reply(response.status_code, _lower(response), await self._body(response, most), url)
            finally:
                await response.aclose()
        except (TimeoutError, httpx.TimeoutException):
            raise SourceUnavailable(f"{self.name}: does not answer in time") from None
        except (httpx.InvalidURL, UnicodeError):
            raise SourceUnavailable(f"{self.name}: its URL cannot be used: look whether the host exists") from None
        except (httpx.HTTPError, OSError) as error:  # a record that is no TLS comes as it is
            raise SourceUnavailable(f"{self.name}: {_why(error)}") from None
        finally:
            client.cookies.clear()

    async def close(self) -> None:
        """Drop the connections."""
        if self._client is not None:
            client, self._client = self._client, None
            await client.aclose()

    def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            limits = httpx.Limits(max_connections=4, max_keepalive_connections=2, keepalive_expiry=60)
            times = httpx.Timeout(None, connect=CONNECT)
            self._client = httpx.AsyncClient(
                verify=ssl.create_default_context(), trust_env=False, follow_redirects=False, timeout=times,
                limits=limits,
            )  # fmt: skip
        return self._client

    async def _body(self, response: httpx.Response, most: int) -> bytes:
        if not response.is_success:
            most = SMALL
        elif response.headers.get("content-encoding", "").strip().lower() not in _AS_IT_IS:
            raise SourceUnavailable(f"{self.name}: sends the bundle encoded once more, and was asked not to")
        length = response.headers.get("content-length", "")
        if response.is_success and response.request.method != "HEAD" and length.isdecimal() and int(length) > most:
            raise self._too_large(most)
        data, pieces = bytearray(), 0
        async for piece in response.aiter_raw():
            data += piece
            pieces += 1
            if pieces > MAX_PIECES:
                raise SourceUnavailable(f"{self.name}: sends its answer in too many pieces")
            if pieces % IN_ONE_GO == 0:
                await asyncio.sleep(0)
            if len(data) > most:
                if response.is_success:
                    raise self._too_large(most)
                break
        del data[most:]
        return bytes(data)

    def _too_large(self, most: int) -> Exception:
        if most >= MAX_SIZE:
            return BundleRefused("too_large", f"{self.name}: the bundle is larger than {MAX_SIZE >> 20} MiB")
        return SourceUnavailable(f"{self.name}: its answer is too long for what was asked")


def shown_url(url: str) -> str:
    """A URL as messages show it: without its query, which may be a signature, and of bounded length."""
    return shown(url.partition("?")[0])


def next_hop(reply: Reply, name: str, *, elsewhere: bool = False) -> str:
    """Where a redirect leads, on the same server, or by TLS on its host; with `elsewhere` also to any host by TLS.

    A server on this machine may also send us to another port of this machine. Raises `SourceUnavailable`.
    """
    try:
        target = urljoin(reply.url, reply.headers["location"])
        here, there = origin.parse(reply.url)[0], origin.parse(target)[0]
    except ValueError:
        raise SourceUnavailable(f"{name}: redirects to what is no URL") from None
    local = is_loopback(here.host) and is_loopback(there.host)
    if there == here or (there.secure and (elsewhere or there.host == here.host)) or (elsewhere and local):
        return target
    where = f"{'https' if there.secure else 'http'}://{there.host_header}"
    raise SourceUnavailable(f"{name}: redirects to {shown(where)}, which is not followed: name the last URL itself")


def _lower(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _why(error: Exception) -> str:
    """Why there is no answer. The libraries' own texts may quote what the other side sent; what they stem from not."""
    causes = list(_causes(error))
    for cause in causes:
        match cause:
            case ssl.SSLCertVerificationError():
                return f"its TLS certificate is not accepted: {visible(cause.verify_message)[:200]}"
            case ssl.SSLError():
                reason = (cause.reason or "no reason is given").replace("_", " ").lower()
                return f"TLS fails: {visible(reason)[:100]}"
            case socket.gaierror():
                return f"its name cannot be resolved: {cause.strerror}"
            case ConnectionRefusedError():
                return "the connection is refused"
    if isinstance(error, httpx.ConnectError):
        told = next((cause.strerror for cause in causes if isinstance(cause, OSError) and cause.strerror), None)
        return f"no connection: {told or 'the network gives no reason'}"
    if isinstance(error, httpx.RemoteProtocolError):
        cut = re.search(r"without (sending complete message body|sending a response)|incomplete chunked", str(error))
        return "its answer is cut short" if cut else "its answer is no HTTP"
    return f"the connection broke ({type(error).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """What an error stems from, nearest first."""
    found: list[BaseException] = []
    left: list[BaseException] = [error]
    while left and len(found) < 32:
        one = left.pop(0)
        if one in found:
            continue
        found.append(one)
        left += [inner for inner in (one.__cause__, one.__context__) if inner is not None]
        if isinstance(one, BaseExceptionGroup):
            left += one.exceptions
    return found
