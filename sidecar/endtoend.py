"""Which HTTP headers travel through us, in either direction. Pure: fields in, fields out.

Hop-by-hop ones end here (RFC 9110, 7.6.1), as does what concerns our own address: Host and Origin are checked by our
guard, and a server would compare them with an address that is not its own. What frames and describes a body is said
anew, because the body is written anew. Credentials of the client travel only where the operator says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

Fields: TypeAlias = list[tuple[str, str]]

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "http2-settings",
    }
)  # fmt: skip
_OURS: Final = frozenset(
    {"host", "origin", "referer", "content-length", "content-encoding", "content-type", "expect", "accept-encoding"}
)
_CREDENTIALS: Final = frozenset({"authorization", "dpop", "cookie"})
_FRAMING: Final = frozenset({"content-length", "content-encoding", "content-type"})


def onward(headers: Iterable[tuple[str, str]], fixed: Fields, *, credentials: bool) -> Fields:
    """The headers of a client's request as they go to the server.

    `fixed` are the operator's own, which win over the client's of the same name; `credentials` says whether those of
    the client go along.
    """
    fields = list(headers)
    stays = _HOP_BY_HOP | _OURS | _named_by_connection(fields) | {name for name, _ in fixed}
    if not credentials:
        stays |= _CREDENTIALS
    passed = [(name, value) for name, value in fields if name not in stays]
    return [*passed, *fixed]


def back(headers: Iterable[tuple[str, str]], *, cookies: bool) -> Fields:
    """The headers of a server's answer as they go to the client, without those that frame the body."""
    fields = list(headers)
    stays = _HOP_BY_HOP | _FRAMING | _named_by_connection(fields)
    if not cookies:
        stays |= {"set-cookie"}
    return [(name, value) for name, value in fields if name not in stays]


def _named_by_connection(fields: Fields) -> frozenset[str]:
    return frozenset(_tokens(value for name, value in fields if name == "connection"))


def _tokens(values: Iterable[str]) -> Iterator[str]:
    for value in values:
        yield from (token.strip().lower() for token in value.split(","))
