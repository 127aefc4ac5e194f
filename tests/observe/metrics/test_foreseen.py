"""Decisions that are known before any call: what a call can get under a policy, and nothing that none could."""

from __future__ import annotations

import pytest

from sidecar.events import EngineReady
from sidecar.observe.metrics import Chosen, Metrics
from sidecar.observe.metrics.calls import MAX_OPENED
from sidecar.observe.metrics.foreseen import Foresight
from sidecar.observe.metrics.instruments import MAX_SERIES, CounterMetric, HistogramMetric
from sidecar.observe.metrics.upstream import MAX_OPENED as MAX_UPSTREAM
from sidecar.policy.terms import Reads
from tests.engine.asking import bundle_of
from tests.observe.decided import decided, denied, tell
from tests.observe.metrics.test_metrics import families, value

ASKED = {"approval_required", "approval_denied", "approval_in_use", "outcome_unknown"}
CHOSEN = Chosen(remember=False)
MONITORS = Chosen("monitor", remember=False)
OPEN = Chosen(remember=False, fail_open=True)


def kinds(text: str, tool: str | None = "t", chose: Chosen = CHOSEN) -> set[str]:
    """The kinds of decision that calls of a tool can get; None stands for a tool that the policy does not name."""
    foresight = Foresight(bundle_of(text).terms, 1, chose)
    found = list(foresight.of_others() if tool is None else foresight.of(tool))
    assert {one.decision for one in found if one.kind not in ("allow", "store_unavailable")} <= {"deny"}
    return {one.kind for one in found} - {"engine_unavailable"}


def of_rule(rule: str, chose: Chosen = CHOSEN) -> set[str]:
    return kinds(f"tools: {{t: {{rules: [{rule}]}}}}", chose=chose)


WHERE = "conditions: [{path: args.a, op: lt, value: 5}]"
OWN = "conditions: [{path: state.t.n, op: lte, value: 5}]"
SPEND = "path: args.a, window: day, max"


@pytest.mark.parametrize(("rule", "found"), [
    ("{action: allow}", {"allow"}), ("{action: deny}", {"rule"}), (f"{{action: deny, {WHERE}}}", {"allow", "rule"}),
    (f"{{{WHERE}}}", {"allow", "rule"}), ("{only: [a]}", {"allow", "rule"}),
    ("{rate_limit: 5/day}", {"allow", "rate_limit", "store_unavailable"}),
    (f"{{spend_limit: {{{SPEND}: 5}}}}", {"allow", "spend_limit", "invalid_amount", "store_unavailable"}),
    ("{spend_limit: {path: args.a, per_call: 5}}", {"allow", "spend_limit", "invalid_amount"}),
    ("{state: {counter: n, window: day}, conditions: [{path: state.t.n, op: lt, value: 0}]}", {"rule"}),
    ("{state: {counter: n, window: day}}", {"allow", "store_unavailable"}),
    (f"{{state: {{counter: n, window: day}}, {OWN}}}", {"allow", "rate_limit", "store_unavailable"}),
    (f"{{state: {{counter: n, window: day, increment: 9}}, {OWN}}}", {"rate_limit", "store_unavailable"}),
    (f"{{state: {{counter: n, window: day}}, {WHERE}}}", {"allow", "rule", "store_unavailable"}),
    ("{action: require_approval}", {"allow", *ASKED, "approvals_full", "store_unavailable"}),
    ("{action: deny, mode: monitor}", {"allow"}), ("{action: deny, mode: shadow}", {"allow"}),
    ("{rate_limit: 5/day, mode: monitor}", {"allow", "store_unavailable"}),
    ("{rate_limit: 5/day, mode: shadow}", {"allow"}),
])  # fmt: skip
def test_a_rule_can_give_what_it_is_made_for(rule: str, found: set[str]) -> None:
    assert of_rule(rule) == found


@pytest.mark.parametrize(("rule", "found"), [
    ("{action: deny}", {"rule"}), ("{action: require_approval}", {"approval_required"}),
    (f"{{action: require_approval, {WHERE}}}", {"allow", "approval_required"}),
    ("{rate_limit: 5/day}", {"allow", "rate_limit", "store_unavailable"}),
])  # fmt: skip
def test_where_all_is_only_monitored_nobody_is_asked(rule: str, found: set[str]) -> None:
    assert of_rule(rule, MONITORS) == found


@pytest.mark.parametrize(("rule", "decisions"), [
    ("{rate_limit: 5/day}", {"allow"}), ("{action: require_approval}", {"deny"}),
    ("{rate_limit: 5/day}, {action: require_approval}", {"deny"}),
    (f"{{action: require_approval, {WHERE}}}", {"allow", "deny"}), ("{action: allow}", set()),
])  # fmt: skip
def test_a_store_that_may_fail_open_lets_calls_pass_that_nobody_is_asked_about(rule: str, decisions: set[str]) -> None:
    foresight = Foresight(bundle_of(f"tools: {{t: {{rules: [{rule}]}}}}").terms, 1, OPEN)
    assert {one.decision for one in foresight.of("t") if one.kind == "store_unavailable"} == decisions


def test_no_rule_behind_one_that_denies_every_call_decides_and_no_limit_is_taken_from() -> None:
    text = f"tools: {{t: {{rules: [{{name: first, {WHERE}}}, {{name: all, action: deny}}, {{name: no, {WHERE}}}, {{name: five, rate_limit: 5/day}}]}}, '*': {{rules: [{{name: ask, action: require_approval}}]}}}}"  # noqa: E501
    found = {one.rule for one in Foresight(bundle_of(text).terms, 1, CHOSEN).of("t")}
    assert found == {"", "first", "all"}
    assert kinds(text) == {"rule"}


def test_of_rules_that_ask_those_behind_one_that_always_asks_are_never_the_first() -> None:
    asks = "action: require_approval"
    text = f"tools: {{t: {{rules: [{{name: a, {asks}, {WHERE}}}, {{name: b, {asks}}}, {{name: c, {asks}}}]}}}}"
    found = Foresight(bundle_of(text).terms, 1, CHOSEN).of("t")
    assert {one.rule for one in found if one.kind == "approval_required"} == {"a", "b"}


CLASSED = """
default: deny
hide: [gone, "in_*"]
classes: {Destructive: {rules: [{name: classed, action: deny}]}}
tools:
  gone: {rules: [{name: x, action: deny}]}
  in_side: {rules: []}
  tried: {rules: [{name: y, action: deny, mode: shadow}]}
  wipe_it: {class: Write, rules: []}
  wipe_all: {rules: []}
  plain: {rules: []}
  "wipe_*": {class: Destructive}
  "*": {rules: [{name: every, conditions: [{path: args.a, op: lt, value: 5}]}]}
"""


@pytest.mark.parametrize(("tool", "found"), [
    ("gone", {("hidden", "(hidden)")}), ("in_side", {("hidden", "(hidden)")}),
    ("tried", {("default_deny", "(default deny)")}), ("wipe_it", {("allow", ""), ("rule", "every")}),
    ("wipe_all", {("rule", "classed")}), ("plain", {("allow", ""), ("rule", "every")}),
    (None, {("hidden", "(hidden)"), ("default_deny", "(default deny)"), ("rule", "classed")}),
])  # fmt: skip
def test_entries_count_where_they_apply(tool: str | None, found: set[tuple[str, str]]) -> None:
    foresight = Foresight(bundle_of(CLASSED).terms, 1, CHOSEN)
    foreseen = foresight.of_others() if tool is None else foresight.of(tool)
    assert {(one.kind, one.rule) for one in foreseen} - {("engine_unavailable", "")} == found


@pytest.mark.parametrize(("text", "found"), [
    ("default: deny\ntools: {t: }", {"default_deny"}), ("default: allow\ntools: {t: }", {"allow"}),
    ("hide: ['*']\ntools: {t: }", {"hidden"}), ("hide: [a]\ntools: {t: }", {"allow"}),
    ("default: deny\ntools: {'a*': }", {"default_deny", "allow"}), ("default: deny\ntools: {'?*': }", {"default_deny"}),
    ("tools: {'*': {rules: [{action: deny}]}}", {"rule"}),
    ("tools: {'a*': {rules: [{action: deny}]}, t: {rules: [{action: require_approval}]}}", {"allow", "rule"}),
])  # fmt: skip
def test_a_tool_that_the_policy_does_not_name_gets_what_others_can(text: str, found: set[str]) -> None:
    assert kinds(text, None) == found


def test_while_no_policy_was_admitted_only_its_absence_is_foreseen() -> None:
    foresight = Foresight(bundle_of("default: deny\ntools: {t: }").terms, 0, Chosen())
    for foreseen in (foresight.of("t"), foresight.of_others()):
        assert {one.kind for one in foreseen} == {"engine_unavailable"}


@pytest.mark.parametrize(("rules", "chose", "remembered"), [
    ("{action: allow}", Chosen(), True), ("{action: allow}", CHOSEN, False),
    ("{conditions: [{path: state.u._rate_day, op: lt, value: 5}]}", Chosen(), False),
])  # fmt: skip
def test_an_answer_that_is_never_used_again_is_no_hit(rules: str, chose: Chosen, remembered: bool) -> None:
    text = f"tools: {{t: {{rules: [{rules}]}}, u: {{rules: [{{rate_limit: 5/day}}]}}}}"
    foreseen = list(Foresight(bundle_of(text).terms, 1, chose).of("t"))
    assert any(one.remembered for one in foreseen) is remembered
    assert not any(one.remembered for one in foreseen if one.kind == "engine_unavailable")


@pytest.mark.parametrize(("methods", "denied", "passes"), [
    ("{deny: [prompts/list]}", {"prompts/list"}, {"_other"}),
    ("{unknown: deny, allow: [mine/own]}", {"_other"}, {"_other", "prompts/list"}),
    ("{unknown: deny}", {"_other"}, {"prompts/list"}),
])  # fmt: skip
def test_methods_are_known_before_they_are_used(methods: str, denied: set[str], passes: set[str]) -> None:
    foresight = Foresight(bundle_of(f"methods: {methods}\ntools: {{t: }}").terms, 1, CHOSEN)
    assert foresight.denied_methods() == denied
    assert foresight.requests() & {"_other", "prompts/list"} == passes
    assert {"tools/call", "tools/list", "initialize", "notifications/initialized"} <= foresight.requests()


def activated(text: str, serial: int = 1, metrics: Metrics | None = None) -> Metrics:
    metrics, bundle = metrics or Metrics("stub", "1.22.4"), bundle_of(text, serial)
    tell(metrics, EngineReady("stub", bundle.revision, bundle.serial, bundle.terms))
    return metrics


def decisions(metrics: Metrics) -> list[tuple[str, float]]:
    """The tool of each series of decisions, and its number."""
    found = (sample for family in families(metrics) for sample in family.samples)
    return [(one.labels["tool"], one.value) for one in found if one.name == "mcp_policy_decisions_total"]


def many(of: str, count: int, rules: int) -> str:
    written = ", ".join(f"{{name: {of}{number}, {WHERE}}}" for number in range(rules))
    tools = ", ".join(f"{of}{number}: {{rules: [{written}]}}" for number in range(count))
    return f"tools: {{{tools}}}"


def test_a_policy_of_thousands_of_tools_leaves_room_for_what_calls_get() -> None:
    metrics = activated(many("t", 3_000, 2))
    found = decisions(metrics)
    assert len(found) == MAX_OPENED + 1 < MAX_SERIES / 2
    for number in range(300):
        tell(metrics, denied(f"t{number}", rule=f"u{number}", kind="custom"))
    assert sum(count for _, count in decisions(metrics)) == 300
    sent = [one.labels["tool"] for family in families(metrics) for one in family.samples
            if one.name == "mcp_policy_upstream_duration_seconds_count"]  # fmt: skip
    assert len(sent) == MAX_UPSTREAM


def test_a_tool_of_many_rules_leaves_room_for_the_others() -> None:
    text = many("t", 1, 1_500)[:-1] + ", " + many("u", 40, 1)[len("tools: {") :]
    metrics = activated(text)
    assert value(
        metrics, "decisions_total", tool="u39", decision="deny", kind="rule", rule="u0", mode="enforce", cache="hit"
    ) == 0  # fmt: skip


def test_policies_without_end_add_no_series_that_nothing_counted() -> None:
    metrics = activated(many("t", 5, 3))
    before = len(decisions(metrics))
    for serial in range(2, 20):
        activated(many(f"t{serial}", 5, 3), serial, metrics)
    assert len(decisions(metrics)) == before


def test_what_was_counted_stays_under_a_policy_that_cannot_give_it_and_goes_on_under_one_that_can() -> None:
    metrics = activated(many("t", 1, 1))
    labels = {"tool": "t0", "decision": "deny", "kind": "rule", "rule": "t0", "mode": "enforce", "cache": "miss"}
    for serial, text in enumerate((many("t", 1, 1), many("u", 1, 1), many("t", 1, 1)), 2):
        tell(metrics, denied("t0", rule="t0", kind="rule"))
        activated(text, serial, metrics)
    tell(metrics, denied("t0", rule="t0", kind="rule"))
    assert value(metrics, "decisions_total", **labels) == 3
    assert value(metrics, "decisions_total", **labels | {"rule": "_other"}) == 1


def test_a_rule_that_only_reports_has_no_series_of_what_it_cannot_report() -> None:
    watched = "{name: w, action: require_approval, mode: monitor}"
    metrics = activated(f"tools: {{t: {{rules: [{watched}]}}}}")
    labels = {"tool": "t", "rule": "w", "by": "monitor"}
    assert value(metrics, "would_deny_total", kind="approval_required", **labels) == 0
    assert value(metrics, "would_deny_total", kind="rule", **labels) is None


def test_a_tool_that_never_reaches_the_server_has_no_series_of_it() -> None:
    metrics = activated("hide: [h]\ntools: {t: {rules: [{action: deny}]}, u: }")
    shown = {tool: value(metrics, "upstream_duration_seconds_count", tool=tool) for tool in ("t", "h", "u", "_other")}
    assert shown == {"t": None, "h": None, "u": 0, "_other": 0}
    assert value(metrics, "calls_settled_total", tool="u", outcome="unknown") == 0


def test_what_is_opened_anew_keeps_what_it_counted_and_what_is_not_is_gone_unless_it_counted() -> None:
    counter, histogram = CounterMetric("m", "Text", ("tool",), 3), HistogramMetric("h", "Text", ("tool",), (1.0,), 3)
    for metric in (counter, histogram):
        metric.open([("a",), ("b",)])
    counter.labels("a").inc()
    histogram.labels("a").observe(0.5)
    for metric in (counter, histogram):
        metric.open([("c",), ("d",), ("e",)])
    (count,), (spread,) = counter.collect(), histogram.collect()
    assert {one.labels["tool"]: one.value for one in count.samples} == {"a": 1, "c": 0, "d": 0}
    counts = {one.labels["tool"]: one.value for one in spread.samples if one.name == "h_count"}
    assert counts == {"a": 1, "c": 0, "d": 0}


def test_an_allowed_call_of_a_named_tool_is_an_increase() -> None:
    metrics = activated(many("t", 1, 1))
    labels = {"tool": "t0", "decision": "allow", "kind": "allow", "rule": "", "mode": "enforce", "cache": "miss"}
    assert value(metrics, "decisions_total", **labels) == 0
    tell(metrics, decided("t0"))
    assert value(metrics, "decisions_total", **labels) == 1


def test_what_many_patterns_read_is_not_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """That takes seconds where paths are many, and every call would wait for it."""
    policy = f"tools: {{t_a: {{rules: []}}, t_*: {{rules: [{{{WHERE}}}]}}, '*_a': {{rules: [{{{WHERE}}}]}}}}"
    foresight = Foresight(bundle_of(policy).terms, 1, Chosen())
    monkeypatch.setattr(Reads, "__add__", lambda *_: pytest.fail("summed"))
    assert {one.kind for one in (*foresight.of("t_a"), *foresight.of_others())} >= {"rule", "allow"}
