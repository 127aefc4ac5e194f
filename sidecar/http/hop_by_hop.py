"""Which HTTP headers travel through us, in either direction. Pure: fields in, fields out.

To the server goes what MCP has and what traces a request, and beyond that only what the operator names: a server behind
us takes our word for who calls and from where, and no list could name every header that some server believes
(`X-Forwarded-User`, `X_Real_IP`, `CF-Connecting-IP`…).

To the client goes what the server says, but for what concerns one connection (RFC 9110, 7.6.1), frames the body, which
is written anew, or leads around us.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

Fields: TypeAlias = list[tuple[str, str]]

HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip
"""Headers that concern one connection."""
OURS: Final = frozenset(
    {
        "host", "origin", "referer", "content-length", "content-encoding", "content-type", "expect", "accept-encoding",
        "last-event-id",
    }
)  # fmt: skip
"""Headers of a request that are compared with our own address, or say what we say anew."""
CREDENTIALS: Final = frozenset({"authorization", "dpop", "cookie"})

_TRAVEL: Final = frozenset(
    {
        "accept", "accept-language", "cache-control", "user-agent", "traceparent", "tracestate", "baggage",
        "mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name",
    }
)  # fmt: skip
_PARAM: Final = "mcp-param-"
_FRAMING: Final = frozenset({"content-length", "content-encoding", "content-type"})
_AROUND_US: Final = frozenset({"alt-svc"})
"""Tells the client of another address for the same server."""


def onward(headers: Iterable[tuple[str, str]], fixed: Fields, *, also: frozenset[str] = frozenset()) -> Fields:
    """The headers of a client's request as they go to the server.

    `fixed` are the operator's own, which win over the client's of the same name; `also` are the names in lower case
    that he lets through beside those that always travel.
    """
    ours = {name for name, _ in fixed}
    passed = [
        (name, value)
        for name, value in headers
        if (name in _TRAVEL or name in also or name.startswith(_PARAM)) and name not in ours
    ]
    return [*passed, *fixed]


def back(headers: Iterable[tuple[str, str]], *, cookies: bool) -> Fields:
    """The headers of a server's answer as they go to the client, without those that frame the body."""
    fields = list(headers)
    stays = HOP_BY_HOP | _FRAMING | _AROUND_US | _named_by_connection(fields)
    if not cookies:
        stays |= {"set-cookie"}
    return [(name, value) for name, value in fields if name not in stays]


def _named_by_connection(fields: Fields) -> frozenset[str]:
    return frozenset(_tokens(value for name, value in fields if name == "connection"))


def _tokens(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from (token.strip().lower() for token in value.split(","))
