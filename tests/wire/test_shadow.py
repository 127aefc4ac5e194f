"""A rule in shadow on the wire: it refuses nothing, its limit counts apart, and what it would refuse is on record."""

from __future__ import annotations

from pathlib import Path

from tests.support.peer import TELEMETRY, Sidecar, kind
from tests.wire.test_monitor import locked

POLICY = """
tools:
  t:
    rules:
      - {name: tried, action: deny, reason: Not this, mode: shadow}
      - {name: one, rate_limit: 1/day, mode: shadow}
      - {name: three, rate_limit: 3/day}
  asked:
    rules:
      - {name: ask, action: require_approval, mode: shadow}
  small:
    rules:
      - {name: small, mode: shadow, conditions: [{path: args.amount, op: lte, value: 5}]}
"""


def test_what_a_rule_in_shadow_would_refuse_passes_and_is_on_record(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        assert sidecar.metric("would_deny_total") == 0
        zero = [(one.labels["tool"], one.labels["rule"]) for one in sidecar.metrics if "would_deny_total" in one.name]
        assert sorted(zero) == [("asked", "ask"), ("small", "small"), ("t", "one"), ("t", "tried")]
        assert [kind(sidecar.call("t")) for _ in range(4)] == [None, None, None, "rate_limit"]
        assert kind(sidecar.call("asked")) is None
        said = [[(item["rule"], item["shadow"]) for item in line["violations"]] for line in sidecar.audit]
        both = [("tried", True), ("one", True)]
        assert said == [[("tried", True)], both, both, [("tried", True)], [("ask", True)]]
        assert all(item["monitor"] for line in sidecar.audit for item in line["violations"])
        assert sidecar.metric("would_deny_total", rule="tried", kind="rule", by="shadow", tool="t") == 4
        assert sidecar.metric("would_deny_total", rule="one", kind="rate_limit", by="shadow") == 2
        assert sidecar.metric("would_deny_total", rule="ask", kind="approval_required", by="shadow") == 1
        assert len(sidecar.received) == 4


def test_a_limit_that_is_enforced_at_last_begins_fresh(tmp_path: Path) -> None:
    policy = "tools: {t: {rules: [{rate_limit: 1/day, mode: shadow}]}}"
    with Sidecar(tmp_path, policy) as sidecar:
        assert [kind(sidecar.call("t")) for _ in range(2)] == [None, None]
    with Sidecar(tmp_path, policy.replace(", mode: shadow", "")) as sidecar:
        assert [kind(sidecar.call("t")) for _ in range(2)] == [None, "rate_limit"]


def test_an_argument_that_only_a_rule_in_shadow_reads_may_be_written_in_any_way(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        assert "result" in sidecar.call("small", {"Amount": 1, "amount": 9})
        assert "result" in sidecar.call("small", {"amount": "a\0b"})
        assert "result" in sidecar.call("small", {"amount": "x" * 3_000_000})
        assert [len(line["violations"]) for line in sidecar.audit] == [1, 1, 0]


def test_without_a_store_what_only_rules_in_shadow_count_passes(tmp_path: Path) -> None:
    policy = "tools: {t: {rules: [{name: one, rate_limit: 1/day, mode: shadow}]}, u: {rules: [{rate_limit: 1/day}]}}"
    with Sidecar(tmp_path, policy) as sidecar:
        with locked(sidecar):
            assert [kind(sidecar.call(tool)) for tool in ("t", "u")] == [None, "store_unavailable"]
        assert [(line["decision"], line["kind"]) for line in sidecar.audit][:1] == [("allow", "allow")]


def test_a_tool_that_is_only_tried_stays_refused_under_default_deny(tmp_path: Path) -> None:
    policy = """
default: deny
list: callable
tools:
  tried: {rules: [{action: deny, mode: shadow}]}
  "glob*": {rules: [{rate_limit: 5/day, mode: shadow}]}
  open: {rules: [{action: allow}, {rate_limit: 1/day, mode: shadow}]}
"""
    with Sidecar(tmp_path, policy) as sidecar:
        assert "tools.tried: all rules here are in shadow" in sidecar.errors
        assert [kind(sidecar.call(tool)) for tool in ("tried", "globbed", "open", "open")] == [
            "default_deny", "default_deny", None, None,
        ]  # fmt: skip
