"""However much anybody makes up, series stay under the number that docs/metrics.md gives."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Violation
from sidecar.events import (
    EngineReady,
    Event,
    HttpRefused,
    Listed,
    MethodDenied,
    Passed,
    Settled,
    UpstreamFailed,
)
from sidecar.mcp.tool_call import Outcome
from sidecar.observe.metrics import Metrics
from sidecar.observe.metrics.instruments import MAX_SERIES, CounterMetric, GaugeMetric, HistogramMetric
from tests.engine.asking import bundle_of
from tests.observe.decided import READY, changed, decided, denied, tell
from tests.observe.metrics.test_metrics import families, series, value
from tests.support import ROOT

(WRITTEN,) = re.findall(r"fewer than ([\d,]+) series", (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8"))
MOST = int(WRITTEN.replace(",", ""))


def refused(tool: str, client: str, rule: str, kind: str) -> list[Event]:
    """A refusal by a rule, reported by another."""
    said = (Violation(f"report {rule}", "No", kind, monitor=True), Violation(rule, "No", kind, monitor=False))
    return [denied(tool, rule=rule, kind=kind, caller=Caller("s", client), violations=said)]


def test_a_flood_of_everything_at_once_stays_under_the_written_number() -> None:
    rules = "".join(f"{{name: r{number}, action: deny}}, " for number in range(40))
    policies = [
        bundle_of(f"tools: {{t{serial}: {{rules: [{rules}]}}, '*': {{rules: [{{name: any, action: deny}}]}}}}", serial)
        for serial in range(1, 4)
    ]
    metrics = Metrics("stub", "1.22.4")
    tell(metrics, READY)
    for number in range(4_500):
        if number % 1_500 == 0:
            policy = policies[number // 1_500]
            tell(metrics, EngineReady("stub", policy.revision, policy.serial, policy.terms))
        tool, rule = f"tool {number}", f"r{number % 60}"
        events: list[Event] = [
            Listed("stub", [tool], whole=False), decided(tool, caller=Caller("s", f"client {number}")),
            *refused(tool, f"client {number % 150}", rule, ("rule", "custom")[number % 2]),
            *refused(f"tool {number % 400}", "c", f"r{(number + number // 400) % 40}", "rule"),
            Settled("stub", "d", tool, Outcome.ERROR, 0, 0, 0.1),
            Passed("stub", f"method {number}"), MethodDenied("i", "stub", Caller("s"), f"method {number}", "enforce"),
            HttpRefused("stub", "clients", number, f"reason {number}", "", ""),
            UpstreamFailed("stub", f"cause {number}", 0, ""), changed("expired", server=f"server {number}"),
        ]  # fmt: skip
        for event in events:
            tell(metrics, event)
    assert 10_000 < series(metrics) < MOST
    decisions = next(family for family in families(metrics) if family.name == "mcp_policy_decisions")
    assert MAX_SERIES <= len(decisions.samples) < MAX_SERIES + 200
    assert sum(sample.value for sample in decisions.samples) == 13_500


def test_one_status_of_ours_and_one_reason_are_one_series_and_others_are_other() -> None:
    metrics = Metrics("stub", "1.22.4")
    for status in range(1_000):
        tell(metrics, HttpRefused("stub", "clients", status, "credentials", "", ""))
    assert value(metrics, "http_refusals_total", status="401", reason="credentials") == 1
    assert value(metrics, "http_refusals_total", status="_other", reason="credentials") == 1_000 - 18


labels = st.tuples(st.sampled_from(["allow", "deny"]), st.text(max_size=3), st.text(max_size=3))


@settings(max_examples=50)
@given(st.lists(labels, max_size=60), st.integers(1, 10))
def test_whatever_is_counted_nothing_is_lost_and_series_are_bounded(
    counted: list[tuple[str, str, str]], most: int
) -> None:
    about = ("m", "Text", ("decision", "tool", "rule"))
    counter, gauge = CounterMetric(*about, most), GaugeMetric(*about, most)
    histogram = HistogramMetric(*about, (1.0,), most)
    for values in counted:
        counter.labels(*values).inc()
        gauge.labels(*values).set(1)
        histogram.labels(*values).observe(0.5)
    (count,), (level,), (spread,) = counter.collect(), gauge.collect(), histogram.collect()
    assert sum(sample.value for sample in count.samples) == len(counted)
    assert sum(sample.value for sample in spread.samples if sample.name == "m_count") == len(counted)
    assert len(count.samples) == len(level.samples) <= most + 2
    kept = {decision for decision, _, _ in counted}
    assert {sample.labels["decision"] for sample in count.samples} == kept
