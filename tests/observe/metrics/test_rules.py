"""Metrics of rules: each had a say in a call or not, under the name that its entry of the policy gives it."""

from __future__ import annotations

import pytest

from sidecar.decision.decision import Violation
from sidecar.events import EngineReady, Listed
from sidecar.observe.metrics import Metrics
from sidecar.observe.metrics.rules import MAX_RULES
from tests.engine.asking import bundle_of
from tests.observe.decided import counted, decided, denied, tell
from tests.observe.metrics.test_metrics import families, metrics_after, series, value

TWINS = bundle_of("""
tools:
  a: {rules: [{name: x, action: deny}]}
  "a*": {rules: [{name: x, action: deny}]}
  "b*": {rules: [{name: x, action: deny}]}
  "*": {rules: [{name: only here, action: deny}]}
""")


def under(bundle: object) -> Metrics:
    metrics = Metrics("stub", "1.22.4")
    adopt(metrics, bundle)
    return metrics


def adopt(metrics: Metrics, bundle: object) -> None:
    tell(metrics, EngineReady("stub", bundle.revision, bundle.serial, bundle.terms))  # type: ignore[attr-defined]


def refuse(metrics: Metrics, tool: str, rule: str, reason: str = "No") -> None:
    """A call of a tool is refused by a rule."""
    tell(metrics, denied(tool, rule=rule, kind="rule", violations=(Violation(rule, reason, "rule", monitor=False),)))


def matches(metrics: Metrics, tool: str, rule: str) -> float | None:
    return value(metrics, "rule_matches_total", tool=tool, rule=rule)


@pytest.mark.parametrize(("tool", "rule"), [("t", "per day"), ("t", "small"), ("*", "any")])
def test_a_rule_that_has_never_had_a_say_stands_at_0(tool: str, rule: str) -> None:
    assert matches(metrics_after(), tool, rule) == 0


def test_a_rule_that_refuses_had_a_say_each_time() -> None:
    metrics = metrics_after()
    for _ in range(3):
        refuse(metrics, "t", "small")
    refuse(metrics, "u", "any")
    assert matches(metrics, "t", "small") == 3
    assert matches(metrics, "*", "any") == 1
    assert matches(metrics, "t", "per day") == 0


def test_a_rule_that_counts_had_a_say_and_one_that_is_exhausted_too() -> None:
    metrics = metrics_after(decided(**counted("per day", 2)), decided(**counted("per day", 1)), denied(limited=True))
    assert matches(metrics, "t", "per day") == 3


def test_every_rule_that_refuses_a_call_had_a_say_and_what_is_ours_is_no_rule() -> None:
    both = tuple(Violation(rule, "No", "rule", monitor=False) for rule in ("small", "any"))
    hidden = Violation("(hidden)", "No", "hidden", monitor=False)
    metrics = metrics_after(
        denied(rule="small", kind="rule", violations=both),
        denied("u", rule="(hidden)", kind="hidden", violations=(hidden,)),
    )
    assert (matches(metrics, "t", "small"), matches(metrics, "*", "any")) == (1, 1)
    assert matches(metrics, "_other", "_other") is None


def test_a_rule_that_only_reports_had_a_say() -> None:
    report = Violation("small", "No", "rule", monitor=True)
    assert matches(metrics_after(decided(violations=(report,))), "t", "small") == 1


def test_of_what_hand_written_rules_say_of_one_call_so_much_is_counted_as_a_policy_has_rules() -> None:
    said = tuple(Violation(f"made up {number}", "No", "custom", monitor=True) for number in range(3 * MAX_RULES))
    metrics = metrics_after(decided(violations=said))
    assert value(metrics, "would_deny_total", tool="t", rule="_other", kind="custom", by="monitor") == MAX_RULES


@pytest.mark.parametrize(("tool", "entry"), [("a", "a"), ("ab", "a*"), ("b", "b*")])
@pytest.mark.parametrize("listed", [False, True])
def test_of_rules_with_one_name_that_of_the_nearest_entry_counts(tool: str, entry: str, *, listed: bool) -> None:
    metrics = under(TWINS)
    tell(metrics, Listed("stub", [tool] if listed else [], whole=True))
    for _ in range(2):
        refuse(metrics, tool, "x")
    assert {each: matches(metrics, each, "x") for each in ("a", "a*", "b*")} == {"a": 0, "a*": 0, "b*": 0, entry: 2}


def test_rules_that_a_reload_takes_away_are_gone_and_the_counts_of_others_go_on() -> None:
    metrics = under(TWINS)
    refuse(metrics, "a", "x")
    refuse(metrics, "c", "only here")
    adopt(metrics, bundle_of("tools: {'*': {rules: [{name: only here, action: deny}]}}", serial=2))
    assert matches(metrics, "a", "x") is None
    refuse(metrics, "c", "only here")
    assert matches(metrics, "*", "only here") == 2
    assert value(metrics, "decisions_total", tool="_other", decision="deny", kind="rule", rule="only here",
                 mode="enforce", cache="miss") == 2  # fmt: skip
    adopt(metrics, TWINS)
    refuse(metrics, "a", "x")
    assert matches(metrics, "a", "x") == 1


def test_reloads_without_end_add_no_series() -> None:
    policies = [bundle_of(f"tools: {{t: {{rules: [{{name: r{n}, action: deny}}]}}}}", serial=n) for n in range(1, 30)]
    metrics = under(policies[0])
    refuse(metrics, "t", "r1")
    names = {"mcp_policy_rule_matches_total", "mcp_policy_rule_info", "mcp_policy_condition_problems_total"}

    def of_rules() -> int:
        return sum(sample.name in names for family in families(metrics) for sample in family.samples)

    before = of_rules()
    for policy in policies[1:]:
        adopt(metrics, policy)
        refuse(metrics, "t", f"r{policy.serial}")
    assert of_rules() == before


def test_rules_of_hand_written_rego_that_make_up_names_are_one_series() -> None:
    metrics = metrics_after()
    refuse(metrics, "t", "made up")
    before = series(metrics)
    for number in range(500):
        refuse(metrics, "t", f"made up {number}")
    assert series(metrics) == before
    assert matches(metrics, "_other", "_other") == 501
    labels = {"tool": "t", "decision": "deny", "kind": "rule", "mode": "enforce", "cache": "miss"}
    assert value(metrics, "decisions_total", rule="_other", **labels) == 501


@pytest.mark.parametrize(("words", "problem"), [
    ("args.a must be at most 5; it is missing", "missing_path"), ("args.a must be at most 5; it is null", "wrong_type"),
    ("args.a must be at most 5; it is no number", "wrong_type"), ('args.a must match "b"; it is no text', "wrong_type"),
])  # fmt: skip
def test_a_condition_that_nothing_could_be_shown_of_is_counted(words: str, problem: str) -> None:
    labels = {"tool": "t", "rule": "small", "problem": problem}
    assert value(metrics_after(), "condition_problems_total", **labels) == 0
    metrics = metrics_after()
    refuse(metrics, "t", "small", f'Denied by rule "small"\n{words}')
    refuse(metrics, "t", "small", 'Denied by rule "small"\nargs.a must be at most 5')
    assert value(metrics, "condition_problems_total", **labels) == 1
