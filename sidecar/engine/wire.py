"""The wire format of OPA's HTTP/1.1 API: the request as bytes, and a strict reader of the reply. No I/O.

Only what OPA sends is read: `200`, and a body with a length or in chunks. Anything else is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MAX_BODY: Final = 1 << 20
"""Bytes of a reply; a decision is a few hundred."""
MAX_HEAD: Final = 16 << 10


class BadReply(Exception):
    """The bytes are no reply that can be used. The text says which part is wrong, and is safe to show."""


def request(body: bytes, decision_id: str) -> bytes:
    """The request that asks for the decision on `body`; our id for it goes into OPA's decision log."""
    # strict-builtin-errors: an error in a built-in function is a 500, not an undefined result.
    return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (_ONE, decision_id.encode(), len(body), body)


def request_for_several(body: bytes, decision_ids: Sequence[str]) -> bytes:
    """The request that asks for the decisions on the questions in `body`, with all of our ids in their order."""
    return b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (_SEVERAL, ",".join(decision_ids).encode(), len(body), body)


DECISION_HEADER: Final = "X-Intercept-Decision"


def _head(document: str) -> bytes:
    return (
        f"POST /v1/data/intercept/{document}?strict-builtin-errors=true HTTP/1.1\r\n"
        f"Host: opa\r\nContent-Type: application/json\r\n{DECISION_HEADER}: "
    ).encode()


_ONE: Final = _head("decision")
_SEVERAL: Final = _head("decisions")


class ReplyReader:
    """Collects the bytes of one reply. `feed` returns the body once it is complete, and None before."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> bytes | None:
        buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            if len(buffer) >= MAX_HEAD:
                raise BadReply("its head is too long")
            self._buffer = buffer
            return None
        length = _length(buffer[:end])
        body = _whole(buffer[end + 4 :], length) if length is not None else _chunks(buffer[end + 4 :])
        if body is None:
            self._buffer = buffer
            return None
        self._buffer = b""
        return body


_LENGTH = re.compile(rb"[ \t]*[0-9]{1,7}[ \t]*")


def _length(head: bytes) -> int | None:
    """The announced length of the body; None when it comes in chunks."""
    lines = head.split(b"\r\n")
    if not lines[0].startswith(b"HTTP/1.1 200 "):
        raise BadReply(f"its status is {lines[0][9:12].decode('latin-1')!r}")
    length, chunked = None, False
    for line in lines[1:]:
        name, _, value = line.partition(b":")
        match name.lower():
            case b"content-length" if length is None and _LENGTH.fullmatch(value):
                length = int(value)
            case b"transfer-encoding" if not chunked and value.strip() == b"chunked":
                chunked = True
            case b"content-length" | b"transfer-encoding" | b"content-encoding":
                raise BadReply("its framing is unclear")
    if (length is None) is not chunked or (length or 0) > MAX_BODY:
        raise BadReply("its framing is unclear")
    return length


def _whole(rest: bytes, length: int) -> bytes | None:
    if len(rest) > length:
        raise BadReply("more follows it")
    return rest if len(rest) == length else None


def _chunks(rest: bytes) -> bytes | None:
    parts: list[bytes] = []
    at = taken = 0
    while True:
        end = rest.find(b"\r\n", at, at + 8)
        if end < 0:
            if len(rest) >= at + 8:
                raise BadReply("a chunk has no size")
            return None
        size_text = rest[at:end]
        if not 0 < len(size_text) <= 6 or size_text.strip(b"0123456789abcdefABCDEF"):
            raise BadReply("a chunk has no size")
        size = int(size_text, 16)
        taken += size
        if taken > MAX_BODY:
            raise BadReply("it is too long")
        at = end + 2 + size
        if len(rest) < at + 2:
            return None
        if rest[at : at + 2] != b"\r\n":
            raise BadReply("a chunk is longer than it says")
        parts.append(rest[end + 2 : at])
        at += 2
        if size == 0:
            if len(rest) > at:
                raise BadReply("more follows it")
            return b"".join(parts)
