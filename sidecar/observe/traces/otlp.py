"""The form of spans on the wire: OTLP with JSON (opentelemetry-proto, `ExportTraceServiceRequest`). Pure.

Names of attributes are those of OpenTelemetry's conventions for MCP, where it has any, and begin with `mcp_policy.`
where it has none.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from sidecar import __version__
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.traces.span import Span
from sidecar.text import shown, visible

SERVER: Final = 2
"""The kind of a span that serves a request."""
ERROR: Final = 2
"""The code of the status of what failed."""
SAMPLED: Final = 0x001
KNOWS_PARENT: Final = 0x100
REMOTE_PARENT: Final = 0x200

_ERRORS: Final = {Outcome.FAILED: "tool_error", Outcome.ERROR: "jsonrpc_error", Outcome.UNKNOWN: "unknown"}
"""What is an error by the outcome alone. A call that did not run may also have been answered with a question."""


class _Text(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    string_value: str


class _Attribute(msgspec.Struct, frozen=True, gc=False):
    key: str
    value: _Text


class _Event(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What happened; a number of 64 bits is a text in JSON."""

    time_unix_nano: str
    name: str
    attributes: list[_Attribute]


class _Status(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    code: int
    message: str = ""


class _Span(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename="camel"):
    trace_id: str
    span_id: str
    flags: int
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: list[_Attribute]
    events: list[_Event]
    parent_span_id: str = ""
    status: _Status | None = None


def envelope(resource: Mapping[str, str]) -> tuple[bytes, bytes]:
    """What stands before and behind the spans of a request, by the attributes of whoever sends them."""
    scope = {"name": "intercept-sidecar", "version": __version__}
    about = encode({"resource": {"attributes": _attributes(resource.items())}, "scopeSpans": [{"scope": scope}]})
    return b'{"resourceSpans":[' + about.removesuffix(b"}]}") + b',"spans":[', b"]}]}]}"


def encoded(span: Span, server: str) -> bytes:
    """One span of a call to `server`."""
    ruling, trace, begin = span.ruling, span.trace, span.decided_at - _nanoseconds(span.judged)
    risk, outcome, error = ruling.risk, span.outcome, _error(span)
    attributes = _attributes((
        ("mcp.method.name", "tools/call"), ("gen_ai.operation.name", "execute_tool"), ("gen_ai.tool.name", span.tool),
        ("jsonrpc.request.id", shown(str(span.id))), ("mcp.session.id", span.caller.session),
        ("mcp_policy.server", server), ("mcp_policy.client", span.caller.client),
        ("mcp_policy.decision_id", span.decision_id), ("mcp_policy.decision", "allow" if ruling.allowed else "deny"),
        ("mcp_policy.kind", ruling.kind), ("mcp_policy.rule", visible(ruling.rule)), ("mcp_policy.place", _place(span)),
        ("mcp_policy.mode", ruling.mode),
        ("mcp_policy.cache", "hit" if ruling.remembered else "miss"), ("mcp_policy.revision", ruling.revision),
        ("mcp_policy.class", risk.risk_class), ("mcp_policy.severity", risk.severity),
        ("mcp_policy.approval_id", span.approval), ("mcp_policy.cause", span.cause),
        ("mcp_policy.outcome", outcome.value if outcome is not None else None), ("error.type", error),
    ))  # fmt: skip
    return encode(
        _Span(
            trace.trace_id if trace is not None else f"{_random(128):032x}",
            f"{_random(64):016x}",
            SAMPLED | KNOWS_PARENT | (REMOTE_PARENT if trace is not None else 0),
            f"tools/call {span.tool}" if span.is_known else "tools/call",
            SERVER,
            str(begin),
            str(span.decided_at + _nanoseconds(span.took or 0)),
            attributes,
            _events(span, begin),
            trace.parent_id if trace is not None else "",
            _status(span) if error else None,
        )
    )


def _events(span: Span, begin: int) -> list[_Event]:
    """What happened to a call, each with its time."""
    engine_id = span.ruling.engine_id
    # Where nobody was asked, or the answer was remembered, it is decided at once.
    answered = str(begin + _nanoseconds(span.answered))
    events = [_Event(answered, "decision", _attributes([("mcp_policy.engine_decision_id", engine_id)]))]
    if span.counted:
        claimed = _attributes([("mcp_policy.approval_id", span.approval)])
        events.append(_Event(str(span.decided_at), "claim", claimed))
    if span.is_forwarded:
        events.append(_Event(str(span.decided_at), "upstream", []))
    return events


def _status(span: Span) -> _Status:
    """The status of what failed: of a refusal with its reason, in the words of the policy."""
    return _Status(ERROR) if span.is_forwarded else _Status(ERROR, visible(span.ruling.reason))


def _place(span: Span) -> str:
    """The file and the line of the rule that decided; empty where none did."""
    found = span.rules.find(span.tool, span.ruling.rule) if span.rules is not None else None
    return f"{visible(found.file)}:{found.line}" if found is not None else ""


def _error(span: Span) -> str:
    """Why the call failed, in a word of few; empty where it did not, or where nobody knows."""
    if not span.is_forwarded:
        return f"policy_{span.ruling.kind}"
    if span.cause:
        return str(span.status) if span.cause == "status" else span.cause
    return _ERRORS.get(span.outcome, "") if span.outcome is not None else ""


def _attributes(pairs: Iterable[tuple[str, str | None]]) -> list[_Attribute]:
    """Attributes on the wire; those that are empty say nothing."""
    return [_Attribute(name, _Text(value)) for name, value in pairs if value]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _random(bits: int) -> int:
    """A number that is not 0, as no id may be. Ids tell spans apart and are no secrets."""
    return _numbers.getrandbits(bits) or 1


_numbers: Final = random.Random()  # noqa: S311 - seeded by the system; these are no secrets
