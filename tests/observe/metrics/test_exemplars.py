"""Exemplars: of the last call in a series or a bucket its decision id, and its trace where it has one."""

from __future__ import annotations

import msgspec
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar

from sidecar.events import Settled
from sidecar.mcp.tool_call import Outcome
from sidecar.mcp.trace_context import TraceContext
from sidecar.observe.metrics import Metrics
from tests.observe.decided import decided, denied
from tests.observe.metrics.test_metrics import NOW, metrics_after

TRACE = TraceContext("ab" * 16, "cd" * 8, sampled=True)


def exemplars(metrics: Metrics, name: str, **labels: str) -> list[Exemplar]:
    """The exemplars of the samples with these labels among others."""
    text, _ = metrics.exposition("application/openmetrics-text; version=1.0.0")
    families: list[Metric] = list(text_string_to_metric_families(text.decode()))  # type: ignore[no-untyped-call] # theirs
    samples = [sample for family in families for sample in family.samples if sample.name == f"mcp_policy_{name}"]
    found = [each.exemplar for each in samples if each.exemplar and labels.items() <= each.labels.items()]
    return [each._replace(timestamp=float(each.timestamp or 0)) for each in found]


def test_a_decision_is_found_by_the_exemplar_of_its_counter_and_of_its_bucket() -> None:
    metrics = metrics_after(decided(), denied(decision_id="i-2", seconds=0.3), decided(decision_id="i-3"))
    assert exemplars(metrics, "decisions_total", decision="deny") == [Exemplar({"decision_id": "i-2"}, 1.0, NOW)]
    assert exemplars(metrics, "decisions_total", decision="allow") == [Exemplar({"decision_id": "i-3"}, 1.0, NOW)]
    (slow,) = exemplars(metrics, "decision_duration_seconds_bucket", phase="total", le="1.0")
    assert slow == Exemplar({"decision_id": "i-2"}, 0.3, NOW)
    assert exemplars(metrics, "rule_matches_total", rule="per day")[0].labels == {"decision_id": "i-2"}


def test_a_call_with_a_trace_names_it() -> None:
    event = decided()
    traced = msgspec.structs.replace(event, call=msgspec.structs.replace(event.call, trace=TRACE))
    (found,) = exemplars(metrics_after(traced), "decisions_total", decision="allow")
    assert found.labels == {"decision_id": "i-1", "trace_id": TRACE.trace_id}


def test_a_slow_answer_of_the_server_leads_to_its_call() -> None:
    metrics = metrics_after(Settled("stub", "i-7", "t", Outcome.SUCCEEDED, 0, 0, 7.0))
    assert exemplars(metrics, "upstream_duration_seconds_bucket", le="10.0")[0].labels == {"decision_id": "i-7"}
    assert exemplars(metrics, "calls_settled_total", outcome="success")[0].labels == {"decision_id": "i-7"}


def test_the_text_format_has_no_exemplars() -> None:
    assert b"decision_id" not in metrics_after(decided()).exposition("text/plain")[0]
