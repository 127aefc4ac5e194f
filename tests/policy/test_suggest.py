"""What people try is answered with what to write, and what is told to be written is read."""

from __future__ import annotations

import re

import pytest

from sidecar.policy import suggest
from sidecar.policy.model import ACTIONS, DEFAULTS, MODES, SCOPES
from sidecar.policy.operators import OPERATORS
from sidecar.policy.read import read
from sidecar.policy.read_rules import CONDITION_KEYS, RATE_LIMIT_KEYS, RULE_KEYS


def errors(rule: str) -> list[str]:
    _, problems = read(f"tools:\n  t:\n    rules:\n      - {rule}\n", "p.yaml")
    return [str(problem) for problem in problems if not problem.warning]


def of_condition(condition: str) -> list[str]:
    return errors(f"{{conditions: [{condition}]}}")


@pytest.mark.parametrize(("tried", "advice"), [
    ("==", "write eq"), ("=", "write eq"), ("equals", "write eq"), ("!=", "write neq"), ("<", "write lt"),
    ("<=", "write lte"), (">", "write gt"), (">=", "write gte"), ("one_of", "write in"), ("matches", "write regex"),
    ("like", "write regex"), ("startswith", "begins with ^"), ("starts_with", "begins with ^"),
    ("endswith", "ends with $"), ("not_exists", "write op: exists and value: false"), ("under", "write within"),
    ("domain", "write host_in"),
])  # fmt: skip
def test_an_operator_of_another_language_is_answered_with_ours(tried: str, advice: str) -> None:
    [problem] = of_condition(f"{{path: args.a, op: '{tried}', value: 5}}")
    assert re.fullmatch(
        rf"p.yaml:4:\d+: tools.t.rules\[1\].conditions\[1\].op: \"{tried}\" is not known here: .*", problem
    )
    assert advice in problem


@pytest.mark.parametrize(("table", "known"), [
    (suggest.OPERATORS, tuple(OPERATORS)), (suggest.ACTIONS, ACTIONS), (suggest.DEFAULTS, DEFAULTS),
    (suggest.MODES, MODES), (suggest.SCOPES, SCOPES),
], ids=["operators", "actions", "defaults", "modes", "scopes"])  # fmt: skip
def test_no_table_answers_what_is_known_and_each_names_what_is(table: dict[str, str], known: tuple[str, ...]) -> None:
    assert not table.keys() & set(known)
    named = {advice for advice in table.values() if re.fullmatch(r"write \w+", advice)}
    assert named <= {f"write {word}" for word in known}


@pytest.mark.parametrize(("tried", "action"), [
    ("block", "deny"), ("reject", "deny"), ("approve", "require_approval"), ("ask", "require_approval"),
    ("permit", "allow"),
])  # fmt: skip
def test_an_action_of_another_language_is_answered_with_ours(tried: str, action: str) -> None:
    [problem] = errors(f"{{action: {tried}}}")
    assert problem.endswith(f'"{tried}" is not known here: write {action}')


@pytest.mark.parametrize(("tried", "instead"), [
    ("5/min", "5/minute"), ("5/m", "5/minute"), ("5 per hour", "5/hour"), ("5/hr", "5/hour"), ("5 / day", "5/day"),
    ("5/Hour", "5/hour"), ("10 an hour", "10/hour"), ("5/week", "{max: 5, window: 7d, scope: global}"),
    ("5/second", "{max: 5, window: 1s, scope: global}"), ("5/90s", "{max: 5, window: 90s, scope: global}"),
    ("5/month", "{max: 5, window: 30d, scope: global}"),
])  # fmt: skip
def test_a_rate_limit_in_other_words_is_answered_with_one_that_means_the_same(tried: str, instead: str) -> None:
    [problem] = errors(f"{{rate_limit: {tried}}}")
    assert problem.endswith(f'"{tried}" is no rate_limit: write {instead}')
    assert errors(f"{{rate_limit: {instead}}}") == []


@pytest.mark.parametrize("tried", ["five/hour", "0/hour", "5", "5/soon", "-5/hour", "1.5/day"])
def test_a_rate_limit_that_says_nothing_is_answered_with_the_forms_that_there_are(tried: str) -> None:
    [problem] = errors(f"{{rate_limit: {tried}}}")
    assert problem.endswith("write a count and a window, as 5/minute, 5/hour or 5/day")


@pytest.mark.parametrize(("tried", "instead"), [
    ("week", "7d"), ("2 weeks", "14d"), ("10 minutes", "10m"), ("1w", "7d"), ("hourly", "hour"), ("60 s", "60s"),
    ("min", "minute"), ("second", "1s"),
])  # fmt: skip
def test_a_window_in_other_words_is_answered_with_one(tried: str, instead: str) -> None:
    [problem] = errors(f"{{rate_limit: {{max: 5, window: {tried}}}}}")
    assert problem.endswith(f'"{tried}" is no window: write {instead}')
    assert errors(f"{{rate_limit: {{max: 5, window: {instead}}}}}") == []


@pytest.mark.parametrize("tried", ["367d", "8785h", "999 weeks", "soon", "0s", "1.5h"])
def test_a_window_that_is_none_or_too_long_is_not_told_again(tried: str) -> None:
    [problem] = errors(f"{{rate_limit: {{max: 5, window: {tried}}}}}")
    assert problem.endswith("write seconds, minute, hour, day, or as 90s, 15m, 12h")


@pytest.mark.parametrize(("rule", "known", "key", "meant"), [
    ("{action: deny, message: x}", RULE_KEYS, "message", "reason"),
    ("{action: deny, msg: x}", RULE_KEYS, "msg", "reason"),
    ("{action: deny, when: x}", RULE_KEYS, "when", "conditions"),
    ("{action: deny, if: x}", RULE_KEYS, "if", "conditions"),
    ("{action: allow, limit: 5/day}", RULE_KEYS, "limit", "rate_limit"),
    ("{rate_limit: {max: 5, window: 60, limit: 5}}", RATE_LIMIT_KEYS, "limit", "max"),
    ("{conditions: [{path: args.a, op: eq, value: 1, operator: eq}]}", CONDITION_KEYS, "operator", "op"),
    ("{conditions: [{path: args.a, op: eq, value: 1, argument: a}]}", CONDITION_KEYS, "argument", "path"),
])  # fmt: skip
def test_a_key_of_another_language_is_answered_with_ours(
    rule: str, known: tuple[str, ...], key: str, meant: str
) -> None:
    [problem] = errors(rule)
    assert problem.endswith(f'the key "{key}" is not known here: write {meant}')
    assert meant in known


@pytest.mark.parametrize(("tried", "path"), [
    ("arguments.x", "args.x"), ("$.x", "args.x"), ("params.x.y", "args.x.y"), ("$.args.x", "args.x"),
    ("params.arguments.x", "args.x"), ("input.x", "args.x"), ("Args.x", "args.x"), ("amount", "args.amount"),
    ("order.amount", "args.order.amount"), ("/order/amount", "args.order.amount"), ("args/amount", "args.amount"),
    ("'orders[*].sz'", "args.orders[*].sz"), ("x y", 'args["x y"]'),
])  # fmt: skip
def test_a_path_without_args_is_answered_with_the_path(tried: str, path: str) -> None:
    [problem] = of_condition(f"{{path: {tried}, op: eq, value: 1}}")
    assert problem.endswith(f"is no path: write {path}")
    assert of_condition(f"{{path: '{path}', op: eq, value: 1}}") == []


@pytest.mark.parametrize("tried", ["args", "args.", ".args.x", "''", "state"])
def test_a_path_that_says_nothing_is_answered_with_its_form(tried: str) -> None:
    [problem] = of_condition(f"{{path: {tried}, op: eq, value: 1}}")
    assert "write args. and the name of an argument" in problem


def test_a_number_in_quotes_is_answered_with_the_number() -> None:
    [problem] = of_condition("{path: args.a, op: lte, value: '5000'}")
    assert problem.endswith("lte needs a number, without quotes: write 5000")


@pytest.mark.parametrize(("pattern", "advice"), [
    ("^(?!admin)", "not_regex"), ("(?<!a)b", "not_regex"), ("a(?=b)", "with regex"), ("(?<=a)b", "with regex"),
    (r"a\Z", r"write \z"), (r"(a)\1", "write the text out"), ("(?>a)", "without +"), ("a++", "without +"),
    ("*.txt", "write .*"), ("[a(", "a backslash before it"),
])  # fmt: skip
def test_what_re2_does_not_read_is_answered_with_what_it_does(pattern: str, advice: str) -> None:
    assert advice in suggest.pattern(pattern)
