"""YAML to a policy: what each item becomes, and every problem with its line, all at once."""

from __future__ import annotations

from textwrap import indent

import pytest

from sidecar.policy.model import Policy, RateLimit, Rule
from sidecar.policy.read import read


def policy(text: str) -> Policy:
    made, problems = read(text, "p.yaml")
    assert problems == []
    return made


def rule(text: str) -> Rule:
    [entry] = policy(f"tools:\n  t:\n    rules:\n      - {text}\n").entries
    return entry.rules[0]


def problems(text: str) -> list[str]:
    return [str(problem) for problem in read(text, "p.yaml")[1]]


def of_rule(text: str) -> list[str]:
    return problems(f"tools:\n  t:\n    rules:\n{indent(text, '      ')}\n")


def of_condition(text: str) -> list[str]:
    return of_rule(f"- conditions:\n    - {text}")


# What is understood.


def test_the_shortest_deny_rule_needs_no_version_and_no_name() -> None:
    made = rule('{action: deny, reason: "Requires human approval"}')
    assert (made.id, made.name, made.action, made.message) == ("t#1", "t#1", "deny", "Requires human approval")


@pytest.mark.parametrize("empty", ["", "{}", "{rules: }", "{rules: []}"])
def test_an_empty_entry_has_no_rules(empty: str) -> None:
    [entry] = policy(f"tools:\n  t: {empty}").entries
    assert (entry.tool, entry.rules) == ("t", ())


@pytest.mark.parametrize("text", ["", "tools:", "tools: {}", 'version: "1"', "version: 1", "version:"])
def test_a_file_may_say_next_to_nothing(text: str) -> None:
    assert policy(text).default == "allow"


def test_default_and_description_are_kept() -> None:
    made = policy("description: for tests\ndefault: deny")
    assert (made.description, made.default) == ("for tests", "deny")


@pytest.mark.parametrize(("text", "action"), [
    ("conditions: [{path: args.a, op: exists, value: true}]", "evaluate"), ("rate_limit: 1/day", "allow"),
    ("action: deny", "deny"), ("action: allow", "allow"),
])  # fmt: skip
def test_the_action_that_is_not_written_follows_from_the_rule(text: str, action: str) -> None:
    assert rule(text).action == action


def test_on_deny_is_another_word_for_reason_and_an_empty_one_is_none() -> None:
    assert rule("{action: deny, on_deny: no}").message == "no"
    assert rule('{action: deny, reason: "", name: x}').message == 'Denied by rule "x"'


@pytest.mark.parametrize(("text", "expected"), [
    ("5/minute", RateLimit(5, 60, "minute", "global", True)), ("1/day", RateLimit(1, 86400, "day", "global", True)),
    ("{max: 2, window: 60}", RateLimit(2, 60, "60", "session", False)),
    ("{max: 2, window: hour}", RateLimit(2, 3600, "hour", "session", False)),
    ("{max: 2, window: 90s, scope: global}", RateLimit(2, 90, "90", "global", False)),
    ("{max: 2, window: 15m}", RateLimit(2, 900, "900", "session", False)),
    ("{max: 2, window: 12h, scope: session}", RateLimit(2, 43200, "43200", "session", False)),
])  # fmt: skip
def test_a_rate_limit_has_two_forms(text: str, expected: RateLimit) -> None:
    assert rule(f"rate_limit: {text}").rate_limit == expected


def test_a_path_may_hold_any_characters_between_its_dots() -> None:
    [condition] = rule('conditions: [{path: "args.naïve-key.$id. 0", op: eq, value: null}]').conditions
    assert condition.path == ("naïve-key", "$id", " 0")


# What is refused.


def test_every_problem_is_listed_at_once_in_the_order_of_the_file() -> None:
    text = """\
version: "3"
default: maybe
tools:
  t:
    rules:
      - action: stop
      - conditions: [{path: body.x, op: lt, value: "1"}]
      - rate_limit: 9/fortnight
        reason: 5
"""
    assert [line.partition(": ")[0] for line in problems(text)] == [f"p.yaml:{n}" for n in (1, 2, 6, 7, 7, 8, 9)]


def test_a_problem_says_where_it_is_and_what_to_write_instead() -> None:
    assert of_condition("{path: args.x, op: lt, value: ten}") == [
        "p.yaml:5: tools.t.rules[1].conditions[1].value (column 43): lt needs a number, without quotes"
    ]


@pytest.mark.parametrize(("text", "near"), [
    ("toolz: {}", "tools"), ("defualt: deny", "default"), ("tools: {t: {rule: []}}", "rules"),
    ("tools: {t: {rules: [{action: deny, reasn: x}]}}", "reason"),
    ("tools: {t: {rules: [{conditions: [{path: args.a, opp: eq, value: 1}]}]}}", "op"),
    ("tools: {t: {rules: [{rate_limit: {max: 1, windw: 1}}]}}", "window"),
    ("tools: {t: {rules: [{action: dny}]}}", "deny"), ("default: alow", "allow"),
    ("tools: {t: {rules: [{rate_limit: {max: 1, window: 1, scope: sesion}}]}}", "session"),
])  # fmt: skip
def test_a_near_miss_is_answered_with_the_word_that_was_meant(text: str, near: str) -> None:
    assert any(f'did you mean "{near}"?' in problem for problem in problems(text))


@pytest.mark.parametrize("text", [
    "hide: [a]", "mode: enforce", "mode: monitor", "approvals: {}", "tools: {t: {rules: [{action: require_approval}]}}",
    "tools: {t: {rules: [{action: deny, mode: monitor}]}}", "tools: {t: {rules: [{action: allow, approvers: 2}]}}",
    "tools: {t: {rules: [{spend_limit: {path: args.a, max: 1, window: day}}]}}", "tools: {'get_*': {rules: []}}",
    "tools: {t: {rules: [{action: allow, state: {counter: n, window: day}}]}}", "tools: {'v?': {rules: []}}",
    "tools: {'**': }",
    "tools: {t: {rules: [{conditions: [{path: state.t.n, op: lte, value: 1}]}]}}",
    "tools: {t: {rules: [{action: allow, approval_timeout: 1h}]}}",
    "tools: {t: {rules: [{rate_limit: {max: 1, window: 60, scope: principal}}]}}",
])  # fmt: skip
def test_what_is_not_built_is_refused(text: str) -> None:
    _, found = read(text, "p.yaml")
    assert any(not problem.warning for problem in found)


@pytest.mark.parametrize("text", ["- a", "5", "text", "tools: [a]", "tools: 5", "tools: {t: []}", "tools: {t: x}",
                                  "tools: {t: {rules: {}}}", "tools: {t: {rules: x}}",
                                  "tools: {'': }", "description: 5", "description: [a]",
                                  "default: true", "default: [allow]", "default:", "version: 2", "version: [1]",
                                  "version: '1.0'", "version: true", "tools: {1: {rules: []}}"])  # fmt: skip
def test_what_has_the_wrong_shape_is_refused(text: str) -> None:
    assert len(problems(text)) == 1


@pytest.mark.parametrize("text", [
    "- {}", "-", "- x", "- []", "- name: x", "- {name: 5, action: deny}", "- {name: '', action: deny}",
    "- {reason: a, on_deny: b, action: deny}", "- {action: true}", "- {rate_limit: 1/day, refund: always}",
    "- {action: evaluate}", "- {conditions: []}", "- {conditions: }", "- {action: deny, rate_limit: 1/day}",
    "- {action: deny, conditions: [{path: args.a, op: exists, value: true}]}", "- {action: }", "- {rate_limit: }",
    "- {action: allow, conditions: [{path: args.a, op: exists, value: true}]}", "- {action: deny, refund: never}",
    "- {rate_limit: 1/day, conditions: [{path: args.a, op: exists, value: true}]}", "- {action: Deny}",
    "- {action: deny}\n- {action: deny, name: t#1}", "- {rate_limit: 1/day}\n- {rate_limit: 2/day}",
    "- {rate_limit: {max: 1, window: 60}}\n- {rate_limit: {max: 2, window: minute}}",
    "- {action: evaluate, rate_limit: 1/day}",
])  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    assert [problem for problem in of_rule(text) if "warning" not in problem] != []


@pytest.mark.parametrize("limit", [
    "5", "0/hour", "-1/hour", "1.5/hour", "05/hour", "5/week", "5/Hour", "5 / hour", "/hour", "5/", "[5, hour]", "true",
    "{max: 1}", "{window: 60}", "{}", "{max: 0, window: 60}", "{max: -1, window: 60}", "{max: 1.0, window: 60}",
    "{max: '1', window: 60}", "{max: 1e3, window: 60}", "{max: 1, window: 0}", "{max: 1, window: -60}",
    "{max: 1, window: 1.5}",
    "{max: 1, window: 60 s}", "{max: 1, window: 1w}", "{max: 1, window: 367h0}", "{max: 1, window: 8785h}",
    "{max: 1, window: [1]}",
    "{max: 1, window: 60, per: x}", "{max: +1, window: 60}", "{max: 1_0, window: 60}", "{max: 0x10, window: 60}",
    "{max: , window: 60}",
])  # fmt: skip
def test_a_rate_limit_that_is_none_is_refused(limit: str) -> None:
    assert of_rule(f"- rate_limit: {limit}") != []


@pytest.mark.parametrize(
    "path", ["x", "args", "args.", "arg.x", "body.x", ".args.x", "args..x", "args.x.", "Args.x", "''", "5", "[args.x]"]
)
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    assert len(of_condition(f"{{path: {path}, op: eq, value: 1}}")) == 1


@pytest.mark.parametrize(("op", "value"), [
    *[(op, value) for op in ("lt", "lte", "gt", "gte") for value in ("true", "~", "'5'", "ten", "[1]", "{}")],
    *[(op, value) for op in ("in", "not_in") for value in ("5", "a", "true", "~", "{a: 1}")],
    *[("exists", value) for value in ("1", "'true'", "yes", "~", "[]")],
    *[("regex", value) for value in ("5", "true", "~", "[a]")],
])  # fmt: skip
def test_an_operator_needs_its_kind_of_value(op: str, value: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: {op}, value: {value}}}")
    assert ".value (column 4" in problem
    assert f"{op} needs" in problem


@pytest.mark.parametrize("op", ["is", "EQ", "==", "not in", "5", "[eq]", "''"])
def test_an_unknown_operator_is_one_problem(op: str) -> None:
    [problem] = of_condition(f"{{path: args.x, op: {op}, value: 1}}")
    assert ".op (column" in problem


@pytest.mark.parametrize("missing", ["path", "op", "value"])
def test_a_condition_needs_its_three_keys(missing: str) -> None:
    keys = {"path": "args.x", "op": "eq", "value": "1"}
    given = ", ".join(f"{key}: {word}" for key, word in keys.items() if key != missing)
    [problem] = of_condition(f"{{{given}}}")
    assert problem.endswith(f"a condition needs path, op and value: {missing} is missing")


def test_a_rule_after_a_deny_is_a_warning_and_the_policy_stays_good() -> None:
    made, found = read("tools: {t: {rules: [{action: deny}, {action: allow}]}}", "p.yaml")
    assert [problem.warning for problem in found] == [True]
    assert "warning: tools.t.rules[2]" in str(found[0])
    assert len(made.entries[0].rules) == 2
