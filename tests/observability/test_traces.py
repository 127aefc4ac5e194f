"""Spans at a real OpenTelemetry collector: one for each call, whose child it is, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.observe.traces.spans import attributes, plain
from tests.support.otel_collector import Collector, collecting
from tests.support.peer import Sidecar, denied
from tests.support.ports import free_port
from tests.wire.http.client import Agent, call
from tests.wire.http.running import running

pytestmark = pytest.mark.observability

POLICY = """
tools:
  never: {rules: [{name: not this, action: deny, reason: never}]}
  few: {rules: [{name: per day, rate_limit: 1/day}]}
"""
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with collecting(tmp_path / "collector") as collector:
        yield collector


def by_tool(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {span["attributes"]["gen_ai.tool.name"]: span for span in map(plain, spans)}


def parent(span: dict[str, Any]) -> tuple[str, str]:
    """The trace that a span is a part of, and whose child it is."""
    return span["traceId"], span.get("parentSpanId", "")


def ask(sidecar: Sidecar, tool: str, context: str = "", **arguments: Any) -> Any:
    meta = {"_meta": {"traceparent": context}} if context else {}
    return sidecar.request("tools/call", {"name": tool, "arguments": arguments, **meta})


def test_calls_that_are_allowed_refused_and_fail_are_spans_with_what_was_decided(
    tmp_path: Path, collector: Collector
) -> None:
    about = {"POD_NAME": "agent-7d9", "POD_NAMESPACE": "agents", "OTEL_SERVICE_NAME": "mcp-policy"}
    with Sidecar(tmp_path, POLICY, "--otlp", collector.url, env=about) as sidecar:
        sidecar.initialize()
        ask(sidecar, "look", CONTEXT, pin="4929-secret")
        ask(sidecar, "fails", stub="failure")
        ask(sidecar, "breaks", stub="late")
        assert denied(ask(sidecar, "never", CONTEXT))
        ask(sidecar, "few")
        spans = by_tool(collector.wait_for(5))
        audit = {line["tool"]: line["decision_id"] for line in sidecar.audit if line["event"] == "decision"}
    assert {tool: span["attributes"]["mcp_policy.decision_id"] for tool, span in spans.items()} == audit
    assert (parent(spans["look"]), parent(spans["never"])) == ((TRACE, PARENT), (TRACE, PARENT))
    assert parent(spans["fails"])[1] == ""
    assert {tool: span["name"] for tool, span in spans.items()} == {
        "look": "tools/call", "fails": "tools/call", "breaks": "tools/call", "never": "tools/call never",
        "few": "tools/call few",
    }  # fmt: skip
    assert {tool: span["attributes"].get("error.type") for tool, span in spans.items()} == {
        "look": None, "fails": "tool_error", "breaks": "jsonrpc_error", "never": "policy_rule", "few": None,
    }  # fmt: skip
    assert spans["never"]["attributes"]["mcp_policy.rule"] == "not this"
    assert [event["name"] for event in spans["few"]["events"]] == ["decision", "claim", "upstream"]
    assert [event["name"] for event in spans["never"]["events"]] == ["decision"]
    for span in spans.values():
        times = [int(event["timeUnixNano"]) for event in span["events"]]
        assert times == sorted(times)
        assert int(span["startTimeUnixNano"]) <= times[0]
        assert times[-1] <= int(span["endTimeUnixNano"])
    who = attributes(collector.resources[0]["resource"])
    assert who.items() >= {
        "service.name": "mcp-policy", "k8s.pod.name": "agent-7d9", "k8s.namespace.name": "agents",
    }.items()  # fmt: skip
    assert "4929" not in collector.file.read_text()


def test_over_http_a_call_is_a_child_of_its_own_context_or_else_of_its_requests(
    tmp_path: Path, collector: Collector
) -> None:
    other = f"00-{TRACE[::-1]}-{PARENT[::-1]}-01"
    with running(tmp_path / "run", "--otlp", collector.url, policy=POLICY) as listener:
        agent = Agent.with_session(listener.url, f"traceparent: {CONTEXT}")
        for tool, context in (("by header", ""), ("by header again", ""), ("by its own", other)):
            message = call(tool)
            if context:
                message["params"]["_meta"] = {"traceparent": context}
            assert agent.post(message).status == 200
        spans = by_tool(collector.wait_for(3))
    assert parent(spans["by header"]) == parent(spans["by header again"]) == (TRACE, PARENT)
    assert parent(spans["by its own"]) == (TRACE[::-1], PARENT[::-1])


def test_a_call_that_a_dead_server_never_got_is_a_span_that_failed(tmp_path: Path, collector: Collector) -> None:
    upstream = f"http://127.0.0.1:{free_port()}/mcp"
    with running(tmp_path / "run", "--otlp", collector.url, "--upstream", upstream, policy=POLICY) as listener:
        Agent(listener.url).post(call("look"))
        (span,) = by_tool(collector.wait_for(1)).values()
    assert span["attributes"].items() >= {
        ("mcp_policy.decision", "allow"), ("mcp_policy.outcome", "not_run"), ("mcp_policy.cause", "refused"),
        ("error.type", "refused"),
    }  # fmt: skip
    assert span["status"] == {"code": 2}


def test_each_of_many_calls_is_one_span_and_none_is_lost(tmp_path: Path, collector: Collector) -> None:
    with Sidecar(tmp_path, POLICY, "--otlp", collector.url) as sidecar:
        sidecar.initialize()
        ids = [sidecar.post("tools/call", {"name": "look", "arguments": {"n": n % 7}}) for n in range(200)]
        assert sorted(sidecar.read()["id"] for _ in ids) == ids
        assert sidecar.end() == 0
        # What waited at the end was sent then.
        spans = [plain(span) for span in collector.wait_for(200)]
        audit = [line["decision_id"] for line in sidecar.audit if line["event"] == "decision"]
    assert sorted(span["attributes"]["mcp_policy.decision_id"] for span in spans) == sorted(audit)
    assert len({span["spanId"] for span in spans}) == len({span["traceId"] for span in spans}) == 200


def test_a_trace_that_its_sender_does_not_record_has_no_span(tmp_path: Path, collector: Collector) -> None:
    with Sidecar(tmp_path, POLICY, "--otlp", collector.url) as sidecar:
        sidecar.initialize()
        ask(sidecar, "unseen", CONTEXT[:-2] + "00")
        ask(sidecar, "seen", CONTEXT)
        assert list(by_tool(collector.wait_for(1))) == ["seen"]


def test_spans_are_taken_again_once_a_collector_is_back(tmp_path: Path) -> None:
    port = free_port()
    with Sidecar(tmp_path, POLICY, "--otlp", f"http://127.0.0.1:{port}") as sidecar:
        sidecar.initialize()
        assert "result" in ask(sidecar, "before")
        sidecar.wait_for_error("spans are not taken by the collector (--otlp): the connection is refused")
        with collecting(tmp_path / "collector", port) as collector:
            assert list(by_tool(collector.wait_for(1))) == ["before"]
            sidecar.wait_for_error("the collector (--otlp) takes spans again; 0 were lost")
            ask(sidecar, "after")
            assert list(by_tool(collector.wait_for(2))) == ["before", "after"]
