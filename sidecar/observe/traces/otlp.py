"""The form of spans on the wire: OTLP with JSON (opentelemetry-proto, `ExportTraceServiceRequest`). Pure.

Names of attributes are those of OpenTelemetry's conventions for MCP, where it has any, and begin with `mcp_policy.`
where it has none.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from sidecar import __version__
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.traces.span import Span
from sidecar.text import shown, visible

MAX_REASON: Final = 1_000
"""Characters of a reason that are kept."""

SERVER: Final = 2
"""The kind of a span that serves a request."""
ERROR: Final = 2
"""The code of the status of what failed."""
SAMPLED: Final = 0x001
KNOWS_PARENT: Final = 0x100
REMOTE_PARENT: Final = 0x200

Attribute: TypeAlias = tuple[bytes, str | None]
_ATTRIBUTE: Final = b'{"key":"%b","value":{"stringValue":%b}}'

_ERRORS: Final = {Outcome.FAILED: "tool_error", Outcome.ERROR: "jsonrpc_error", Outcome.UNKNOWN: "unknown"}
"""What is an error by the outcome alone. A call that did not run may also have been answered with a question."""


def envelope(resource: Mapping[str, str]) -> tuple[bytes, bytes]:
    """What stands before and behind the spans of a request, by the attributes of whoever sends them."""
    scope = {"name": "intercept-sidecar", "version": __version__}
    about = _attributes([(encode(name)[1:-1], value) for name, value in resource.items()])
    return (
        b'{"resourceSpans":[{"resource":{%b},"scopeSpans":[{"scope":%b,"spans":[' % (about, encode(scope)), b"]}]}]}"
    )  # fmt: skip


def encoded(span: Span, server: str) -> bytes:
    """One span of a call to `server`."""
    ruling, trace, begin = span.ruling, span.trace, span.decided_at - _nanoseconds(span.judged)
    risk, outcome, error = ruling.risk, span.outcome, _error(span)
    attributes = _attributes((
        (b"mcp.method.name", "tools/call"), (b"gen_ai.operation.name", "execute_tool"),
        (b"gen_ai.tool.name", span.tool), (b"jsonrpc.request.id", shown(str(span.id))),
        (b"mcp.session.id", span.caller.session), (b"mcp_policy.server", server),
        (b"mcp_policy.client", span.caller.client), (b"mcp_policy.decision_id", span.decision_id),
        (b"mcp_policy.decision", "allow" if ruling.allowed else "deny"), (b"mcp_policy.kind", ruling.kind),
        (b"mcp_policy.rule", visible(ruling.rule)), (b"mcp_policy.mode", ruling.mode),
        (b"mcp_policy.cache", "hit" if ruling.remembered else "miss"), (b"mcp_policy.revision", ruling.revision),
        (b"mcp_policy.class", risk.risk_class), (b"mcp_policy.severity", risk.severity),
        (b"mcp_policy.approval_id", span.approval), (b"mcp_policy.cause", span.cause),
        (b"mcp_policy.outcome", outcome.value if outcome is not None else None), (b"error.type", error),
    ))  # fmt: skip
    # Written member by member: of documents made of dictionaries each span would take three times as long.
    return b'{"traceId":"%b","spanId":"%016x",%b"flags":%d,"name":%b,"kind":%d,%b,%b,%b,"events":[%b]%b}' % (
        trace.trace_id.encode() if trace is not None else b"%032x" % _random(128),
        _random(64),
        b'"parentSpanId":"%b",' % trace.parent_id.encode() if trace is not None else b"",
        SAMPLED | KNOWS_PARENT | (REMOTE_PARENT if trace is not None else 0),
        encode(f"tools/call {span.tool}") if span.is_known else b'"tools/call"',
        SERVER,
        b'"startTimeUnixNano":"%d"' % begin,
        b'"endTimeUnixNano":"%d"' % (span.decided_at + _nanoseconds(span.took or 0)),
        attributes,
        b",".join(_events(span, begin)),
        b',"status":%b' % _status(span) if error else b"",
    )


def _events(span: Span, begin: int) -> Iterable[bytes]:
    """What happened to a call, each with its time."""
    engine_id = span.ruling.engine_id
    # Where nobody was asked, or the answer was remembered, it is decided at once.
    yield _event(b"decision", begin + _nanoseconds(span.answered), (b"mcp_policy.engine_decision_id", engine_id))
    if span.counted:
        yield _event(b"claim", span.decided_at, (b"mcp_policy.approval_id", span.approval))
    if span.is_forwarded:
        yield _event(b"upstream", span.decided_at)


def _event(name: bytes, moment: int, *about: Attribute) -> bytes:
    return b'{"timeUnixNano":"%d","name":"%b",%b}' % (moment, name, _attributes(about))


def _status(span: Span) -> bytes:
    """The status of what failed: of a refusal with its reason, in the words of the policy."""
    return encode({"code": ERROR} if span.is_forwarded else {"code": ERROR, "message": _reason(span.ruling.reason)})


def _reason(reason: str) -> str:
    return visible(reason[:MAX_REASON])


def _error(span: Span) -> str:
    """Why the call failed, in a word of few; empty where it did not, or where nobody knows."""
    if not span.is_forwarded:
        return f"policy_{span.ruling.kind}"
    if span.cause:
        return str(span.status) if span.cause == "status" else span.cause
    return _ERRORS.get(span.outcome, "") if span.outcome is not None else ""


def _attributes(pairs: Iterable[Attribute]) -> bytes:
    """The member with attributes; those that are empty say nothing."""
    return b'"attributes":[%b]' % b",".join([_ATTRIBUTE % (name, encode(value)) for name, value in pairs if value])


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1_000_000_000)


def _random(bits: int) -> int:
    """A number that is not 0, as no id may be. Ids tell spans apart and are no secrets."""
    return _numbers.getrandbits(bits) or 1


_numbers: Final = random.Random()  # noqa: S311 - seeded by the system; these are no secrets
