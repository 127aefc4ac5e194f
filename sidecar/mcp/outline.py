"""The top-level members of an unreadable message, as far as its two ends show them. Knows no protocol.

Nested members never count. The beginning is read member by member. Of the end only those members count that have plain
values and follow each other up to the last brace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from sidecar.text import folded

Members: TypeAlias = list[tuple[str, bytes]]
"""Keys in lower case, each with the text of its value: empty for a list, an object, or a value that is cut off."""

HEAD: Final = 16 << 10
TAIL: Final = 1 << 10
"""Bytes that are read of the beginning and of the end: unreadable messages must not cost much time."""


def members(head: bytes, tail: bytes) -> Members:
    """The members that can be seen of one object, of which the beginning and the end are given.

    `head` and `tail` are the same if nothing is missing between them.
    """
    if not _BEGIN.match(head) or not _END.search(tail):
        return []
    found = list(_first(head[:HEAD]))
    if head == tail and len(head) <= HEAD:
        return found
    return found + _last(tail[-TAIL:])


def _first(head: bytes) -> Iterator[tuple[str, bytes]]:
    begin = _BEGIN.match(head)
    while begin is not None:
        member = _MEMBER.match(head, begin.end())
        if member is None:
            return
        if member["plain"]:
            begin = _NEXT.match(head, member.end())
            # The value may go on behind the cut.
            value = member["plain"] if begin or _CLOSE.match(head, member.end()) else b""
        else:
            value, begin = b"", _NEXT.match(head, _behind(head, member.end()))
        yield _key(member["key"]), value


def _behind(head: bytes, start: int) -> int:
    """The position after the list or object that begins at `start`; the end of `head` if it does not end there."""
    depth = 0
    for mark in _MARK.finditer(head, start):
        depth += _STEP.get(mark[0], 0)
        if depth <= 0:
            return mark.end()
    return len(head)


def _last(tail: bytes) -> Members:
    run = _RUN.search(tail)
    return [(_key(one["key"]), one["plain"]) for one in _MEMBER.finditer(run[0], 1)] if run is not None else []


def _key(token: bytes) -> str:
    try:
        return folded(_TEXT.decode(token))
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


_TEXT: Final = msgspec.json.Decoder(str)
_STEP: Final = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}

_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_PLAIN = rb"(?P<plain>" + _STRING + rb'|[^\s"{}\[\]:,]+)'
_KEY = rb"\s*(?P<key>" + _STRING + rb")\s*:\s*"
_MEMBER = re.compile(_KEY + rb"(?:" + _PLAIN + rb"|(?=[{\[]|" + rb'"|\Z))', re.DOTALL)
# An unclosed string is one mark up to the end: otherwise the search would start again at each quote in it.
_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_BEGIN = re.compile(rb"\s*\{")
_NEXT = re.compile(rb"\s*,")
_CLOSE = re.compile(rb"\s*\}")
_END = re.compile(rb"\}\s*\Z")
# A string has no bare quote, and between strings there is no backslash: so such a run cannot begin inside a string.
_RUN = re.compile(
    rb"[{,](?:" + _KEY.replace(b"?P<key>", b"?:") + _PLAIN.replace(b"?P<plain>", b"?:") + rb"\s*[,}])+\s*\Z", re.DOTALL
)
