"""The head of a request, read strictly: whatever two servers could read differently is refused."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sidecar.http.reader import BadMessage, MessageReader
from sidecar.http.values import BLANKS, Headers, Repeated

LENGTH: Final = "content-length"


class RequestHead(NamedTuple):
    """What a head says, but for the length of the body."""

    method: str
    target: str
    path: str
    query: str
    headers: Headers
    version_10: bool
    wants_continue: bool
    lives_on: bool


def read_request_head(reader: MessageReader, head: bytes) -> tuple[RequestHead, int | None]:
    """Read a head that the reader cut off: what it says, and the length of the body, None when that comes in chunks.

    Raises BadMessage.
    """
    line = _REQUEST_LINE.match(head)
    if not line:
        if _OTHER_VERSION.match(head):
            raise BadMessage(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        raise BadMessage(400, "the request line is not one of HTTP/1.1 with a path")
    headers = reader.read_head(_without_upgrade(head))
    version_10 = line[3] == b"0"
    if not _OF_A_CONNECTION.issuperset(_tokens(headers.all("connection"))):
        raise BadMessage(400, "Connection names a header that is not about the connection")
    try:
        if headers.get("host") is None and not version_10:
            raise BadMessage(400, "there is no Host")
        encoding = headers.get("content-encoding")
        if encoding is not None and encoding.lower() != "identity":
            raise BadMessage(415, "the body must not be encoded")
        length = _length(headers, version_10)
        target = line[2].decode()
        path, _, query = target.partition("?")
        return RequestHead(
            method=line[1].decode(),
            target=target,
            path=path,
            query=query,
            headers=headers.without(LENGTH),
            version_10=version_10,
            wants_continue=not version_10 and _wants_continue(headers),
            lives_on=not version_10 and reader.lives_on,
        ), length
    except Repeated as error:
        raise BadMessage(400, str(error)) from None


# Whoever stands between takes away what Connection names. A header that was looked at here, or that the server is to
# get, must not be named there: it would be judged, and then be gone.
_OF_A_CONNECTION: Final = frozenset(
    {
        "close", "keep-alive", "upgrade", "http2-settings", "te", "trailer", "proxy-connection", "proxy-authorization",
        "",
    }
)  # fmt: skip


def _tokens(values: list[str]) -> list[str]:
    return [token.strip(BLANKS).lower() for value in values for token in value.split(",")]


# Paths only: no absolute form, no authority, no `*`; those are for proxies that are asked as such.
_REQUEST_LINE = re.compile(rb"([A-Za-z-]+) (/[!\"$-~]*) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(rb"[A-Za-z-]+ [!-~]+ HTTP/(?!1\.[01]\r)[0-9](?:\.[0-9])?\r\n")
_LENGTH = re.compile(r"[0-9]{1,15}")


def _length(headers: Headers, version_10: bool) -> int | None:
    coding, length = headers.get("transfer-encoding"), headers.get(LENGTH)
    if coding is not None:
        if version_10:
            raise BadMessage(400, "HTTP/1.0 has no Transfer-Encoding")
        # Names of codings have no case (RFC 9112, 7), and the parser reads them so.
        if length is not None or coding.lower() != "chunked":
            raise BadMessage(400, "only chunked, alone, is understood as Transfer-Encoding")
        return None
    if length is None:
        return 0
    if not _LENGTH.fullmatch(length):
        raise BadMessage(400, "the Content-Length is no number")
    return int(length)


def _wants_continue(headers: Headers) -> bool:
    expected = headers.get("expect")
    if expected is not None and expected.lower() != "100-continue":
        raise BadMessage(417, "only 100-continue can be expected")
    return expected is not None


_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*(?=\r\n)", re.IGNORECASE)


def _without_upgrade(head: bytes) -> bytes:
    # We never upgrade, and the parser would take what follows such a head for another protocol.
    return _UPGRADE.sub(b"", head) if b"upgrade" in head.lower() else head
