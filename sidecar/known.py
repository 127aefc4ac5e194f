"""Calls that came before. An agent that asks again sends the same line with another id: that is not read again.

What was read of a line holds for every line that differs from it in nothing but the digits of its id. It decides
nothing: a call that is known is judged as any other.
"""

from __future__ import annotations

from typing import Final

import msgspec

from sidecar import jsonrpc
from sidecar.jsonrpc import Request
from sidecar.protocol import ToolCall
from sidecar.recent import Recent

MAX_LINE: Final = 4 << 10
"""Bytes of a line that is worth the room."""
MAX_BYTES: Final = 2 << 20
_OVERHEAD: Final = 3_000
"""Bytes that a call takes beside its line, estimated."""
_MAX_SEEN: Final = 10_000
"""Lines that came once, remembered by their hash: only what comes again is worth keeping."""

_ID: Final = b'"id":'
_NEAR: Final = 40
"""An id that does not stand within so many bytes of the beginning is looked for from the end."""
_DIGITS: Final = 15
"""So few digits make an integer that is an id."""


class Known(msgspec.Struct, frozen=True, gc=False):
    """A `tools/call` as it was read first. `client` is what the client calls itself in it, or None."""

    at: int
    request: Request
    call: ToolCall
    client: str | None


class KnownCalls:
    """The calls of all sessions: what they say depends on their bytes alone."""

    def __init__(self) -> None:
        self._calls: Recent[Known] = Recent(MAX_BYTES, _OVERHEAD)
        self._seen: set[int] = set()

    def find(self, line: bytes) -> tuple[ToolCall, Known] | None:
        """The call in a line, which reading it would give too, and how it came before with another id; else None."""
        parts = _parts(line)
        if parts is None:
            return None
        at, rest, id_ = parts
        known = self._calls.get(rest)
        if known is None or known.at != at:
            return None
        call = known.call
        return ToolCall(id_, call.tool, call.arguments, call.stateless, line, call.memo), known

    def keep(self, request: Request, call: ToolCall, client: str | None) -> None:
        """Keep a call that was read and found good, once its line came before."""
        parts = _parts(request.raw)
        if parts is None:
            return
        at, rest, id_ = parts
        if (seen := hash(rest)) not in self._seen:
            if len(self._seen) >= _MAX_SEEN:
                self._seen.clear()
            self._seen.add(seen)
            return
        # With other digits it has to be the same request with another id, or these are not the digits of its id.
        twin = b"%b%b%d%b" % (rest[:at], _ID, id_ + 1, rest[at:])
        read = jsonrpc.read(twin)
        if isinstance(read, Request) and read.id == id_ + 1 and read.raw == twin:
            self._calls.keep(rest, Known(at, request, msgspec.structs.replace(call, memo={}), client))

    def forget(self) -> None:
        """Forget every call, and with it what others worked out about it."""
        self._calls.clear()


def _parts(line: bytes) -> tuple[int, bytes, int] | None:
    """Where the member of an integer begins that may be the id, the line without it, and the integer; or None."""
    if len(line) > MAX_LINE:
        return None
    head, found, rest = line.partition(_ID)
    if not found:
        return None
    if len(head) > _NEAR:
        head, _, rest = line.rpartition(_ID)
    digits, comma, tail = rest.partition(b",")
    if not comma:
        digits, tail = rest[:-1], rest[-1:]
    if not digits.isdigit() or len(digits) > _DIGITS or (digits[0] == _ZERO and len(digits) > 1):
        return None
    return len(head), head + comma + tail, int(digits)


_ZERO = ord("0")
