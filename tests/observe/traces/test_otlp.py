"""A span as a collector gets it: whose it is, when it was, what it says, and what it never says."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.traces import otlp
from sidecar.policy.risks import Risk
from tests.observe.decided import READY, SECRET, decided, denied
from tests.observe.traces.spans import NOW, TRACE, attributes, sent, settled, spans_of, traced


def the_span(*events: Any) -> dict[str, Any]:
    (span,) = spans_of(*events)
    return sent(span)


def test_a_call_of_a_trace_is_a_child_of_who_made_it() -> None:
    span = the_span(traced(), settled())
    assert (span["traceId"], span["parentSpanId"], span["flags"]) == (TRACE.trace_id, TRACE.parent_id, 0x301)
    assert len(span["spanId"]) == 16
    assert span["spanId"] not in (TRACE.parent_id, "0" * 16)


def test_a_call_of_no_trace_begins_one_of_its_own() -> None:
    first, second = the_span(decided(), settled()), the_span(decided(), settled())
    assert "parentSpanId" not in first
    assert first["flags"] == 0x101
    assert len({first["traceId"], second["traceId"], "0" * 32}) == 3
    assert [len(span["traceId"]) for span in (first, second)] == [32, 32]


def test_it_lasts_from_when_the_call_came_until_it_ended_with_what_happened_between() -> None:
    event = decided(seconds=0.5, answered=0.125, left=(("per day", 1.0),), approval="apr_1", engine_id="opa-1")
    span = the_span(event, settled())
    begin, end = int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"])
    assert (begin, end) == (NOW - 500_000_000, NOW + 250_000_000)
    assert [(one["name"], int(one["timeUnixNano"]) - begin, one["attributes"]) for one in span["events"]] == [
        ("decision", 125_000_000, {"mcp_policy.engine_decision_id": "opa-1"}),
        ("claim", 500_000_000, {"mcp_policy.approval_id": "apr_1"}),
        ("upstream", 500_000_000, {}),
    ]


def test_a_refused_call_ends_with_the_refusal_and_never_reaches_the_server() -> None:
    span = the_span(READY, denied(risk=Risk("money", "high")))
    assert [one["name"] for one in span["events"]] == ["decision"]
    assert int(span["endTimeUnixNano"]) == NOW
    assert span["status"] == {"code": 2, "message": "No more"}
    assert (span["name"], span["kind"]) == ("tools/call t", 2)
    assert span["attributes"] == {
        "mcp.method.name": "tools/call", "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t",
        "jsonrpc.request.id": "1", "mcp.session.id": "s1", "mcp_policy.server": "stub", "mcp_policy.client": "agent",
        "mcp_policy.decision_id": "i-1", "mcp_policy.decision": "deny", "mcp_policy.kind": "rate_limit",
        "mcp_policy.rule": "per day", "mcp_policy.place": "policy.yaml:3",
        "mcp_policy.mode": "enforce", "mcp_policy.cache": "miss",
        "mcp_policy.revision": READY.revision, "mcp_policy.class": "money", "mcp_policy.severity": "high",
        "error.type": "policy_rate_limit",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "cause", "status", "error"),
    [
        (Outcome.SUCCEEDED, "", 0, None), (Outcome.FAILED, "", 0, "tool_error"),
        (Outcome.ERROR, "", 0, "jsonrpc_error"), (Outcome.NOT_RUN, "", 0, None), (Outcome.UNKNOWN, "", 0, "unknown"),
        (Outcome.NOT_RUN, "dns", 0, "dns"), (Outcome.UNKNOWN, "given_up", 0, "given_up"),
        (Outcome.UNKNOWN, "status", 503, "503"),
    ],
)  # fmt: skip
def test_it_says_how_the_call_ended(outcome: Outcome, cause: str, status: int, error: str | None) -> None:
    span = the_span(decided(), settled("i-1", outcome, cause, status))
    assert span["attributes"]["mcp_policy.outcome"] == outcome.value
    assert span["attributes"].get("mcp_policy.cause", "") == cause
    assert span["attributes"].get("error.type") == error
    assert span.get("status") == ({"code": 2} if error else None)


def test_what_monitor_mode_lets_pass_is_no_error_and_says_what_would_have_been() -> None:
    span = the_span(denied(mode="monitor"), settled())
    assert "status" not in span
    assert span["attributes"].items() >= {
        ("mcp_policy.decision", "deny"), ("mcp_policy.mode", "monitor"), ("mcp_policy.outcome", "success"),
    }  # fmt: skip


def test_a_call_whose_end_nobody_knows_says_none() -> None:
    (span,) = spans_of(decided(), end=True)
    assert "mcp_policy.outcome" not in sent(span)["attributes"]
    assert "status" not in sent(span)


def test_what_clients_chose_stands_there_escaped_and_neither_values_nor_principals_do() -> None:
    caller = Caller("s1", "agent", Principal("mallory", "https://issuer.example", {"secret-claim": "x"}))
    event = denied(rule="a\u2028b", caller=caller)
    call = msgspec.structs.replace(event.call, tool='t\u202e"\n', id="\u202e\ud800")
    ruling = msgspec.structs.replace(event.ruling, reason="\u202e" + "x" * 5_000)
    event = msgspec.structs.replace(event, call=call, ruling=ruling)
    (span,) = spans_of(event)
    text = otlp.encoded(span, "stub").decode()
    assert sent(span)["attributes"]["gen_ai.tool.name"] == 't\\u202e"\\n'
    assert sent(span)["attributes"]["jsonrpc.request.id"] == "\\u202e\\ud800"
    assert sent(span)["name"] == "tools/call"
    assert sent(span)["status"]["message"] == "\\u202e" + "x" * 999
    for secret in (SECRET, "mallory", "issuer.example", "secret-claim", "\u202e", "\u2028"):
        assert secret not in text


def test_who_sends_is_said_once_for_all_spans() -> None:
    head, tail = otlp.envelope({"service.name": "a \u2028 service", 'k"ey': "v"})
    (one,) = spans_of(decided(), settled())
    (whole,) = json.loads(head + otlp.encoded(one, "stub") + tail)["resourceSpans"]
    assert attributes(whole["resource"]) == {"service.name": "a \u2028 service", 'k"ey': "v"}
    (scope,) = whole["scopeSpans"]
    assert scope["scope"]["name"] == "intercept-sidecar"
    assert len(scope["spans"]) == 1
