"""What stands at the top level of a message that cannot be read, as far as its two ends show it. Knows no protocol.

What is nested never counts: the beginning is gone through member by member, and of the end only members with plain
values are taken, which follow each other up to the last brace.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

import msgspec

from sidecar.text import folded

Members: TypeAlias = list[tuple[str, bytes]]
"""Keys in lower case, each with its value as it is written: empty for a list, an object, and what is cut off."""

HEAD: Final = 16 << 10
TAIL: Final = 1 << 10
"""Bytes of the beginning and of the end that are looked at: whoever sends what cannot be read must not keep us busy."""


def members(head: bytes, tail: bytes) -> Members:
    """The members that can be seen of one object of which the beginning and the end are there.

    `head` and `tail` are the same where nothing is missing between them.
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
            # What the cut went through may be longer.
            value = member["plain"] if begin or _CLOSE.match(head, member.end()) else b""
        else:
            value, begin = b"", _NEXT.match(head, _behind(head, member.end()))
        yield _key(member["key"]), value


def _behind(head: bytes, start: int) -> int:
    """Where the list or object that begins at `start` is over; the end of `head` where that is not seen."""
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
# A string that is not closed is one mark too, up to the end: else each quote in it would be looked on from again.
_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[{}\[\]]', re.DOTALL)
_BEGIN = re.compile(rb"\s*\{")
_NEXT = re.compile(rb"\s*,")
_CLOSE = re.compile(rb"\s*\}")
_END = re.compile(rb"\}\s*\Z")
# Strings hold no bare quote and what stands between them no backslash, so such a run cannot begin inside a string.
_RUN = re.compile(
    rb"[{,](?:" + _KEY.replace(b"?P<key>", b"?:") + _PLAIN.replace(b"?P<plain>", b"?:") + rb"\s*[,}])+\s*\Z", re.DOTALL
)
