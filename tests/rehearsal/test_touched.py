"""What no test shows of a policy's rules is told, and only that."""

from __future__ import annotations

from sidecar.decision.decision import Violation
from sidecar.rehearsal.cases import read_cases
from sidecar.rehearsal.judging import Judgement
from sidecar.rehearsal.testing import CaseResult, StepResult
from sidecar.rehearsal.touched import Touched, touched
from tests.rehearsal.running import policy_of, run


def of(policy: str, steps: str, tools: tuple[str, ...] | None = None) -> Touched:
    return touched(policy_of(policy), run(policy, f"- name: n\n  steps:\n{steps}"), tools)


def names(found: Touched) -> tuple[list[str], list[str], list[str]]:
    parts = (found.untouched, found.never_refused, found.never_passed)
    untouched, never_refused, never_passed = ([f"{one.entry}/{one.rule}" for one in part] for part in parts)
    return untouched, never_refused, never_passed


SMALL = "{name: small, conditions: [{path: args.n, op: lte, value: 10}]}"
POLICY = f"tools: {{t: {{rules: [{SMALL}]}}, u: {{rules: [{SMALL}]}}}}\n"


def test_a_rule_is_shown_whole_by_a_call_that_it_refuses_and_one_that_it_lets_pass() -> None:
    steps = "    - {call: t, arguments: {n: 1}, expect: allow}\n"
    assert names(of(POLICY, steps)) == (["u/small"], ["t/small"], [])
    steps += "    - {call: t, arguments: {n: 11}, expect: deny}\n"
    assert names(of(POLICY, steps)) == (["u/small"], [], [])
    steps += "    - {call: u, arguments: {n: 11}, expect: deny}\n"
    assert names(of(POLICY, steps)) == ([], [], ["u/small"])


def test_what_a_rule_cannot_do_is_not_asked_of_it() -> None:
    policy = """
tools:
  never: {rules: [{name: d, action: deny}]}
  always: {rules: [{name: a, action: require_approval}]}
  counts: {rules: [{name: c, state: {counter: n, window: day}}]}
"""
    steps = "".join(f"    - {{call: {tool}, expect: refused}}\n" for tool in ("never", "always", "counts"))
    assert names(of(policy, steps)) == ([], [], [])
    assert names(of(policy, "    - {call: x, expect: allow}\n"))[0] == ["never/d", "always/a", "counts/c"]


def test_a_limit_is_shown_by_the_call_that_exhausts_it() -> None:
    policy = "tools: {t: {rules: [{name: once, rate_limit: 1/hour}]}}\n"
    step = "    - {call: t, expect: refused}\n"
    assert names(of(policy, step)) == ([], ["t/once"], [])
    assert names(of(policy, step * 2)) == ([], [], [])


def test_what_another_rule_refused_shows_nothing_of_a_limit() -> None:
    policy = f"tools: {{t: {{rules: [{SMALL}, {{name: once, rate_limit: 1/hour}}]}}}}\n"
    found = of(policy, "    - {call: t, arguments: {n: 11}, expect: deny}\n")
    assert names(found) == (["t/once"], [], ["t/small"])


def test_a_call_that_a_person_is_asked_about_shows_that_rules_let_it_pass_but_not_that_limits_do() -> None:
    ask = "{name: ask, action: require_approval, conditions: [{path: args.n, op: gt, value: 5}]}"
    policy = f"tools: {{t: {{rules: [{SMALL}, {ask}, {{name: once, rate_limit: 1/hour}}]}}}}\n"
    found = of(policy, "    - {call: t, arguments: {n: 6}, expect: approval}\n")
    assert names(found) == (["t/once"], ["t/small"], ["t/ask"])


def test_a_rule_that_only_reports_is_shown_by_what_it_reports() -> None:
    policy = f"tools: {{t: {{rules: [{SMALL.removesuffix('}')}, mode: monitor}}]}}}}\n"
    found = of(policy, "    - {call: t, arguments: {n: 11}, expect: allow}\n")
    assert names(found) == ([], [], ["t/small"])


def test_the_rules_of_a_class_are_shown_by_any_tool_of_the_class() -> None:
    policy = """
classes: {Financial: {rules: [{name: no, action: deny}]}}
tools: {a: {class: Financial}, b: {class: Financial}}
"""
    assert names(of(policy, "    - {call: b, expect: deny}\n")) == ([], [], [])
    assert len(of(policy, "    - {call: x, expect: allow}\n").untouched) == 1


def test_of_two_rules_with_one_name_one_refusal_shows_one() -> None:
    policy = f'tools: {{t: {{rules: [{SMALL}]}}, "*": {{rules: [{{name: small, action: deny}}]}}}}\n'
    assert names(of(policy, "    - {call: t, arguments: {n: 1}, expect: deny}\n"))[0] == ["*/small"]
    both = "    - {call: t, arguments: {n: 11}, expect: deny}\n    - {call: x, expect: deny}\n"
    assert names(of(policy, both))[0] == []


def test_tools_that_no_rule_looks_at_are_told_and_where_they_are_named() -> None:
    policy = 'tools: {t: {rules: [{action: deny}]}, bare: {}, "read_*": {rules: []}}\nhide: [gone]\n'
    steps = "    - {call: t, expect: deny}\n"
    tools = ("t", "bare", "read_it", "gone", "unknown")
    found = of(policy, steps, tools)
    assert [(one.tool, one.named and one.named.line) for one in found.unguarded] == [
        ("bare", 1), ("read_it", 1), ("unknown", None)
    ]  # fmt: skip
    assert not found.complete
    assert [one.tool for one in of(policy, "    - {call: unknown, expect: allow}\n").unguarded] == ["unknown"]
    strict = f"default: deny\n{policy}"
    assert [one.tool for one in of(strict, steps, tools).unguarded] == ["bare", "read_it"]
    everywhere = 'tools: {"*": {rules: [{rate_limit: 9/hour}]}, bare: {}}\n'
    assert of(everywhere, "    - {call: t, expect: allow}\n", tools).unguarded == ()


def test_a_refusal_by_hand_written_rego_shows_nothing_of_a_rule_with_the_same_name() -> None:
    policy = policy_of(POLICY)
    (case,), _ = read_cases("- {name: n, steps: [{call: t, expect: deny}]}\n", "t.yaml")
    violation = Violation("small", "no", "custom", monitor=False)
    judgement = Judgement("deny", "custom", "small", "no", "", 0, (violation,), forwarded=False)
    found = touched(policy, [CaseResult(case, (StepResult(case.steps[0], judgement, ""),), 0.0)], None)
    assert names(found) == (["t/small", "u/small"], [], [])
