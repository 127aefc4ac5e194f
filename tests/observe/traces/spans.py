"""Spans as a collector gets them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from sidecar.events import Settled
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from sidecar.observe.traces import otlp
from sidecar.observe.traces.calls import CallSpans
from sidecar.observe.traces.span import Span
from tests.observe.decided import decided, tell

TRACE = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)
NOW = 1_800_000_000_000_000_000


def settled(
    decision_id: str = "i-1", outcome: Outcome = Outcome.SUCCEEDED, cause: str = "", status: int = 0
) -> Settled:
    return Settled("stub", decision_id, "t", outcome, 0, 0, 0.25, cause, status)


def spans_of(*events: Any, end: bool = False) -> list[Span]:
    """The spans that are passed on by these events."""
    found: list[Span] = []
    calls = CallSpans(found.append, clock=lambda: NOW)
    for event in events:
        tell(calls, event)
    if end:
        calls.end()
    return found


def a_span(number: int = 1) -> Span:
    """A span of a call that was allowed and ran well."""
    (span,) = spans_of(decided(decision_id=f"i-{number}"), settled(f"i-{number}"))
    return span


def traced(trace: TraceContext | None = TRACE, **changes: Any) -> Any:
    """A decision on a call that is a part of a trace."""
    event = decided(**changes)
    return msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, trace=trace))


def sent(span: Span) -> dict[str, Any]:
    """A span as it is sent, with its attributes as a dictionary."""
    document: dict[str, Any] = json.loads(otlp.encoded(span, "stub"))
    return plain(document)


def plain(span: dict[str, Any]) -> dict[str, Any]:
    """A span with the attributes of it and of its events as dictionaries."""
    events = [{**one, "attributes": attributes(one)} for one in span["events"]]
    return {**span, "attributes": attributes(span), "events": events}


def attributes(of: dict[str, Any]) -> dict[str, str]:
    """Attributes by name."""
    return {item["key"]: item["value"]["stringValue"] for item in of.get("attributes", [])}
