"""A cache of calls that were read: a line that differs from an earlier one only in its id is not read again.

What was read of a line holds for every line that differs from it in nothing but the digits of its id. It decides
nothing: a call that is known is judged as any other. `_place` says why its digits are those of the id. What others
work out about such calls stands in their `Memo`.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.decision.decision import Answer, Violation
from sidecar.events import Ruling
from sidecar.mcp.jsonrpc import Request
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import ToolCall
from sidecar.policy.bundle import Bundle
from sidecar.system.lru import LRU

MAX_LINE: Final = 4 << 10
"""Bytes of a line that is worth the room."""
MAX_BYTES: Final = 2 << 20
_OVERHEAD: Final = 3_000
"""Bytes that a call takes beside its line, estimated."""
_MAX_SEEN: Final = 10_000
"""Lines that came once, remembered by their hash: only what comes again is worth keeping."""

_ID: Final = rb'"id":(0|[1-9][0-9]{0,14})'
"""So few digits make an integer that is an id, written as it would be written again."""
_AT_HEAD: Final = re.compile(rb'\{(?:"jsonrpc":"2\.0",|"method":"tools/call",){0,2}%b(?=[,}])' % _ID)
_AT_TAIL: Final = re.compile(rb',%b(?:,"jsonrpc":"2\.0"|,"method":"tools/call"){0,2}\}\Z' % _ID)
_TAIL: Final = 80
"""Bytes at the end of a line in which all of `_AT_TAIL` stands."""


class CachedQuestion(msgspec.Struct, frozen=True, gc=False):
    """The question about a call, by a bundle. Where it `names_caller`, it is the one about this caller.

    A question depends on nothing of a caller but the principal, and what the client said of itself.
    """

    bundle: Bundle
    names_caller: bool
    principal: Principal | None
    said: ClientInfo | None
    body: bytes


class CachedRuling(msgspec.Struct, frozen=True, gc=False):
    """The ruling that a call may pass, by an answer and with these violations."""

    answer: Answer
    violations: tuple[Violation, ...]
    ruling: Ruling


class CachedLine(msgspec.Struct, frozen=True, gc=False):
    """What the audit log says of a call, by a ruling and for a caller."""

    ruling: Ruling
    caller: Caller
    line: str


class CachedCount(msgspec.Struct, frozen=True, gc=False):
    """What a call is counted by, by a ruling and for a caller, while the names that are known are those of an `era`."""

    ruling: Ruling
    caller: Caller
    era: object
    counted: Any


class Memo(msgspec.Struct):
    """What was worked out about calls that say the same, so that it is not worked out again.

    Each part holds what it depends on beside the call, and counts only while that is the very same object.
    """

    question: CachedQuestion | None = None
    ruling: CachedRuling | None = None
    line: CachedLine | None = None
    count: CachedCount | None = None


class CachedCall(ToolCall, frozen=True, gc=False, kw_only=True):
    """A call that came before. Calls that say the same share a `memo`, in which is nothing of their traces."""

    memo: Memo


class FirstRead(msgspec.Struct, frozen=True, gc=False):
    """A `tools/call` as it was read first, with the digits of its id at `at`.

    `client` is what the client says of itself in it, or None.
    """

    at: int
    request: Request
    call: ToolCall
    client: ClientInfo | None
    memo: Memo


class CallCache:
    """The calls of all sessions: what they say depends on their bytes alone."""

    def __init__(self) -> None:
        self._calls: LRU[FirstRead] = LRU(MAX_BYTES, _OVERHEAD)
        self._seen: set[int] = set()

    def find(self, line: bytes) -> tuple[CachedCall, FirstRead] | None:
        """The call in a line, which reading it would give too, and how it came before with another id; else None."""
        place = _place(line)
        if place is None:
            return None
        at, end = place
        known = self._calls.get(line[:at] + line[end:])
        if known is None or known.at != at:
            return None
        call = known.call
        found = CachedCall(
            int(line[at:end]), call.tool, call.arguments, call.stateless, line, call.params, call.trace, memo=known.memo
        )  # fmt: skip
        return found, known

    def keep(self, request: Request, call: ToolCall, client: ClientInfo | None) -> None:
        """Keep a call that was read and found good, once its line came before."""
        line = request.raw
        place = _place(line)
        if place is None:
            return
        at, end = place
        rest = line[:at] + line[end:]
        if (seen := hash(rest)) in self._seen:
            self._calls.keep(rest, FirstRead(at, request, call, client, Memo()))
            return
        if len(self._seen) >= _MAX_SEEN:
            self._seen.clear()
        self._seen.add(seen)

    def forget(self) -> None:
        """Forget every call, and with it what others worked out about it."""
        self._calls.clear()


def _place(line: bytes) -> tuple[int, int] | None:
    """Where the digits of the id of a canonical message begin and end; None where its form leaves a doubt.

    At the head: a reader goes from left to right, and all that stands before the digits is given here byte by byte.
    At the tail, for whoever knows that the line is one JSON object without blanks: its last byte closes it, so what
    stands before is its last member, and so on to the left. A quotation mark that follows a comma or a colon begins a
    text, since inside a text only an escaped one could stand there, and then a backslash would come before it. Digits
    between a colon and a comma or the end are a number. No other place counts, however it looks: anywhere else the
    same bytes may stand in the arguments.
    """
    if len(line) > MAX_LINE:
        return None
    found = _AT_HEAD.match(line) or _AT_TAIL.search(line, max(0, len(line) - _TAIL))
    return found.span(1) if found is not None else None
