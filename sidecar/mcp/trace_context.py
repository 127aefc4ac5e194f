"""The trace that a request is a part of, as its sender says (W3C Trace Context). Knows nothing of who records spans.

It stands in `_meta` of the request's params, or in a header of the HTTP request that carried it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

TRACEPARENT: Final = "traceparent"
"""The name of the header, and of the member of `_meta`."""

_FORM: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_NO_TRACE: Final = "0" * 32
_NO_PARENT: Final = "0" * 16
_SAMPLED: Final = 1


class TraceContext(msgspec.Struct, frozen=True, gc=False):
    """A trace: its id and that of the span that made the request, in hex; whether its sender records it."""

    trace_id: str
    parent_id: str
    sampled: bool


def trace_of(traceparent: Any) -> TraceContext | None:
    """What a `traceparent` says; None where it is not exactly of the form, which then says nothing.

    Version 00 has four fields and nothing behind them. Of a later one these four are read, whatever follows them
    (section 4.3 of the recommendation); version ff is forbidden.
    """
    if type(traceparent) is not str or (found := _FORM.fullmatch(traceparent)) is None:
        return None
    version, trace_id, parent_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or trace_id == _NO_TRACE or parent_id == _NO_PARENT:
        return None
    return TraceContext(trace_id, parent_id, bool(int(flags, 16) & _SAMPLED))
