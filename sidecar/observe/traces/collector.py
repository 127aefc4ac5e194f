"""Sends spans to a collector over OTLP/HTTP: one POST, what its answer means, and nothing kept.

By our own HTTP client: it is imported anyway where it serves, follows nothing, takes nothing from the environment, and
says of each failure whether it may pass.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from sidecar.http.client import ClientResponse, HttpClient, Lost, Unreachable
from sidecar.http.origin import parse
from sidecar.http.values import JSON
from sidecar.settings import Otlp
from sidecar.system import tasks
from sidecar.system.lines import TooLong
from sidecar.text import visible

SECONDS: Final = 5.0
"""How long one attempt may take in all, however slowly an answer trickles in."""
MAX_ANSWER: Final = 64 << 10
"""Bytes of an answer that are read."""
MAX_WAIT: Final = 30.0
"""Seconds that a collector can have us wait at most."""
MAX_WORDS: Final = 200
"""Characters of what a collector says that are told."""
MIN_SECRET: Final = 8
"""Characters of a word of a header that is taken for a secret."""
PATH: Final = "/v1/traces"

_MAY_PASS: Final = frozenset({429, 502, 503, 504})
"""The statuses after which the same is sent again (OTLP, retryable response codes)."""
_ADVICE: Final = {
    401: ": it wants credentials, give them in OTEL_EXPORTER_OTLP_HEADERS",
    403: ": it does not take what OTEL_EXPORTER_OTLP_HEADERS has for it",
    404: ": no collector takes traces there, look at the URL of --otlp",
    405: ": no collector takes traces there, look at the URL of --otlp",
    413: ": it takes only smaller requests",
    415: ": it does not take JSON",
}


class Taken(msgspec.Struct, frozen=True):
    """What became of a request with spans: how many were `rejected`, and `why` it was not taken, in plain words.

    `again` where it may be taken another time, at the earliest `after` so many seconds. All of them are rejected where
    `rejected` is None.
    """

    why: str = ""
    again: bool = False
    after: float = 0.0
    rejected: int | None = 0


class Collector:
    """The collector that the settings name."""

    def __init__(self, otlp: Otlp) -> None:
        self._origin, target = parse(otlp.url)
        self._target = target_of(target)
        self._headers = [("content-type", JSON), ("user-agent", "intercept-sidecar"), *otlp.headers]
        self._secrets = sorted(_parts(otlp.headers), key=len, reverse=True)
        self._client: HttpClient | None = None

    async def send(self, body: bytes) -> Taken:
        """Send a request; what became of it. Takes `SECONDS` at most."""
        try:
            async with asyncio.timeout(SECONDS):
                client = self._client or await self._opened()
                response = await client.send("POST", self._target, self._headers, body)
                try:
                    return _taken(response, await response.read(MAX_ANSWER), self._secrets)
                finally:
                    response.abort()
        except TimeoutError:
            return Taken(f"it does not answer within {SECONDS:.0f} s", again=True, rejected=None)
        except (Unreachable, Lost) as error:
            return Taken(str(error), again=True, rejected=None)

    async def close(self) -> None:
        """Drop the connection."""
        if self._client is not None:
            await self._client.close()

    async def _opened(self) -> HttpClient:
        # In a thread: to read the machine's certificates takes longer than a call may wait.
        context = await tasks.in_thread_if_can_be(ssl.create_default_context) if self._origin.secure else None
        self._client = HttpClient(self._origin, ssl_context=context)
        return self._client


def target_of(path: str) -> str:
    """Where traces are taken below the path of a URL; one that ends so is taken as it is."""
    bare, mark, query = path.partition("?")
    bare = bare.rstrip("/")
    return (bare if bare.endswith(PATH) else bare + PATH) + mark + query


def _parts(headers: Iterable[tuple[str, str]]) -> set[str]:
    """What of the headers nobody may see in a text: words that are no more than a scheme or a tenant are not secret."""
    return {word for _, value in headers for word in (value, *value.split()) if len(word) >= MIN_SECRET}


def _taken(response: ClientResponse, body: bytes | TooLong, secrets: Sequence[str]) -> Taken:
    status = response.status
    if status == 200:
        return _success(body, secrets)
    if 300 <= status < 400:
        why = f"it redirects (status {status}), which is not followed: give --otlp the last URL itself"
        return Taken(why, rejected=None)
    why = f"it answered with status {status}{_ADVICE.get(status, '')}"
    return Taken(why, status in _MAY_PASS, _after(response), rejected=None)


def _success(body: bytes | TooLong, secrets: Sequence[str]) -> Taken:
    """A 200 counts where it is a collector's: anything else may be a page of who knows whom."""
    try:
        answer = {} if body == b"" else msgspec.json.decode(b"" if isinstance(body, TooLong) else body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        answer = None
    if type(answer) is not dict:
        return Taken("it answered with status 200, but not as a collector does", rejected=None)
    partial = answer.get("partialSuccess")
    rejected, why = _rejected(partial, secrets) if type(partial) is dict else (0, "")
    return Taken(why and f"it rejected {rejected} spans: {why}", rejected=rejected)


def _rejected(partial: dict[str, Any], secrets: Sequence[str]) -> tuple[int, str]:
    """How many spans a collector rejected, and what it says to that; a message alone is a warning."""
    count, text = partial.get("rejectedSpans", 0), partial.get("errorMessage")
    try:
        rejected = max(0, int(count))  # a number of 64 bits, which JSON writes as a text
    except (TypeError, ValueError, OverflowError):
        rejected = 0
    if not rejected:
        return 0, ""
    if type(text) is not str or not text:
        return rejected, "it does not say why"
    for secret in secrets:  # it may say what it was shown; before anything is cut, or half of it would be left
        text = text.replace(secret, "[hidden]")
    return rejected, visible(text[:MAX_WORDS])


def _after(response: ClientResponse) -> float:
    given = response.headers.all("retry-after")
    seconds = given[0] if len(given) == 1 else ""
    return min(float(seconds), MAX_WAIT) if seconds.isascii() and seconds.isdecimal() and len(seconds) < 10 else 0.0
