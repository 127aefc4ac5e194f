"""What a refusal says where the policy gives no reason: what failed, in plain words, and no value of the call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.decision.decision import Decision
from sidecar.decision.question import question
from tests.policy.test_agreement import ask
from tests.policy.test_compile import bundle_of

NAME = 'Denied by rule "t#1"'


def refused(rules: str, *calls: dict[str, Any]) -> list[str]:
    """The reason of the decision on each call of a tool with these rules."""
    decisions = decided(rules, calls)
    assert {decision.action for decision in decisions} == {"deny"}
    return [decision.reason for decision in decisions]


def decided(rules: str, calls: tuple[dict[str, Any], ...]) -> list[Decision]:
    bundle = bundle_of(f"tools:\n  t:\n    rules:\n      - {rules}\n")
    return ask(bundle, [question("s", "t", call) for call in calls])


@pytest.mark.parametrize(("condition", "arguments", "said"), [
    ("{path: args.max_count, op: lte, value: 5}", {"max_count": 6}, "args.max_count must be at most 5"),
    ("{path: args.max_count, op: lte, value: 5}", {}, "args.max_count must be at most 5; it is missing"),
    ("{path: args.n, op: gt, value: 1e3}", {"n": None}, "args.n must be more than 1000; it is null"),
    ("{path: args.n, op: lt, value: 0.50}", {"n": 1}, "args.n must be less than 0.5"),
    ("{path: args.n, op: gte, value: 2}", {"n": "2"}, "args.n must be at least 2; it is no number"),
    ("{path: args.n, op: gte, value: 2, decimal_text: true}", {"n": "1"}, "args.n must be at least 2"),
    ("{path: args.n.m, op: gte, value: 2}", {"n": [9]}, "args.n.m must be at least 2"),
    ("{path: args.e, op: regex, value: '^a'}", {"e": ["a"]}, 'args.e must match "^a"; it is no text'),
    ("{path: args.e, op: eq, value: 5}", {"e": [5]}, "args.e must be 5"),
    ("{path: args.e, op: eq, value: a b}", {"e": "x"}, 'args.e must be "a b"'),
    ("{path: args.e, op: neq, value: prod}", {"e": "prod"}, 'args.e must not be "prod"'),
    ("{path: args.e, op: in, value: [dev, 5, true]}", {"e": "x"}, 'args.e must be "dev", 5 or true'),
    ("{path: args.e, op: in, value: [1, 2, 3, 4, 5, 6, 7]}", {"e": 9},
     "args.e must be 1, 2, 3, 4, 5 or one of 2 others"),
    ("{path: args.e, op: not_in, value: [a]}", {"e": "a"}, 'args.e must not be "a"'),
    ("{path: args.e, op: regex, value: '^a'}", {"e": "b"}, 'args.e must match "^a"'),
    ("{path: args.e, op: not_regex, value: '^a'}", {"e": "a"}, 'args.e must not match "^a"'),
    ("{path: args.e, op: contains, value: a}", {"e": "b"}, 'args.e must contain "a"'),
    ("{path: args.e, op: exists, value: true}", {}, "args.e must be given"),
    ("{path: args.e, op: exists, value: false}", {"e": 1}, "args.e must not be given"),
    ("{path: 'args.o[*].n', op: lte, value: 5}", {"o": [{"n": 9}]}, "args.o[*].n must be at most 5"),
    ("{path: args.sz, times: args.px, op: lte, value: 5}", {"sz": 9, "px": 1},
     "args.sz times args.px must be at most 5"),
    ("{path: 'args[\"a.b\"].c', op: lte, value: 5}", {"a.b": {}}, 'args["a.b"].c must be at most 5; it is missing'),
])  # fmt: skip
def test_the_condition_that_fails_is_said_in_words(condition: str, arguments: dict[str, Any], said: str) -> None:
    assert refused(f"conditions: [{condition}]", arguments) == [f"{NAME}\n{said}"]


@pytest.mark.parametrize(("condition", "arguments", "said"), [
    ("{path: args.n, op: gt, value: 5}", {"n": 6}, "args.n must be at most 5"),
    ("{path: args.n, op: lte, value: 5}", {"n": "text"}, "args.n must be more than 5; it is no number"),
    ("{path: args.e, op: in, value: [a, b]}", {"e": "a"}, 'args.e must not be "a" or "b"'),
    ("{path: args.e, op: not_in, value: [a, b]}", {"e": "c"}, 'args.e must be "a" or "b"'),
    ("{path: args.e, op: exists, value: true}", {"e": 1}, "args.e must not be given"),
    ("{path: args.e, op: exists, value: false}", {}, "args.e must be given"),
])  # fmt: skip
def test_a_rule_that_denies_says_what_must_not_be(condition: str, arguments: dict[str, Any], said: str) -> None:
    assert refused(f"{{action: deny, conditions: [{condition}]}}", arguments) == [f"{NAME}\n{said}"]


def test_the_first_condition_that_fails_is_the_one_that_is_said() -> None:
    first, second, third = (f"{{path: args.{name}, op: lte, value: 5}}" for name in "abc")
    rules = f"conditions: [{first}, {second}, {third}]"
    calls = [{"a": 6, "b": 6, "c": 6}, {"a": 5, "b": 6, "c": 6}, {"a": 5, "b": 5, "c": 6}]
    assert refused(rules, *calls) == [f"{NAME}\nargs.{name} must be at most 5" for name in "abc"]


def test_keys_that_are_not_permitted_are_named_if_their_names_are_plain() -> None:
    bundle = bundle_of("tools: {t: {rules: [{only: [a]}]}}")
    keys = [["a", "attachAlgoOrds"], ["b", "c", "d", "e", "f"], ["a", "\u202e", "x" * 65], ["b", "a b"]]
    asked = [question("s", "t", {}).replace(b'"arguments"', f'"keys":{each},"arguments"'.replace("'", '"').encode())
             for each in keys]  # fmt: skip
    said = [decision.reason.split("\n")[1] for decision in ask(bundle, asked)]
    another = "args has another key that is not permitted here"
    assert said == [
        "args.attachAlgoOrds is not permitted here",
        ", ".join([*(f"args.{key} is not permitted here" for key in "bcd"), another]),
        another,
        f"args.b is not permitted here, {another}",
    ]


def test_an_amount_above_the_limit_per_call_is_said() -> None:
    assert refused("spend_limit: {path: args.n, per_call: 5}", {"n": 6}) == [
        "Amount exceeds the limit per call of t#1\nargs.n must be at most 5 in one call"
    ]


@pytest.mark.parametrize("rule", [
    "spend_limit: {path: args.n, per_call: 5}",
    "spend_limit: {path: args.n, max: 5, window: day}",
    "action: require_approval, spend_limit: {path: args.n, per_call: 5}",
    "action: allow, state: {counter: c, window: day, increment_from: args.n}",
])  # fmt: skip
@pytest.mark.parametrize("key", ["reason", "on_deny"])
def test_the_reason_of_the_policy_is_said_too_where_an_amount_cannot_be_counted(rule: str, key: str) -> None:
    calls: tuple[dict[str, Any], ...] = ({}, {"n": "5"}, {"n": -1}, {"n": None})
    for reason, said in [(f", {key}: At most 5.", "At most 5."), ("", 'Rule "t#1" needs a number at args.n')]:
        found = [(one.kind, one.reason) for one in decided(f"{{{rule}{reason}}}", calls)]
        assert found == [("invalid_amount", said)] * len(calls)


def test_a_reason_of_the_policy_stands_alone() -> None:
    assert refused("{conditions: [{path: args.n, op: lte, value: 5}], reason: no}", {"n": 6}) == ["no"]
    assert refused("{action: deny}", {}) == [NAME]


CANARY = "canary7f3a"
VALUES = st.recursive(
    st.one_of(st.just(CANARY), st.just(f"/x/{CANARY}"), st.just(73190), st.just(f"https://{CANARY}.test/")),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("ab"), inner, max_size=2)),
    max_leaves=4,
)
CONDITIONS = [
    f"{{path: 'args.{path}', op: {op}, value: {value}}}"
    for path in ("a", "a.b", "a[*]", "a[*].b")
    for op, value in (
        ("lte", 5),
        ("eq", "x"),
        ("not_in", "[x]"),
        ("regex", "'^q$'"),
        ("exists", "false"),
        ("contains", "x"),
    )
]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(CONDITIONS), min_size=1, max_size=3, unique=True),
    st.sampled_from(["evaluate", "deny"]),
    st.lists(st.dictionaries(st.sampled_from("ab"), VALUES, min_size=1), min_size=1, max_size=20),
)
def test_no_value_of_a_call_is_ever_said(conditions: list[str], action: str, calls: list[dict[str, Any]]) -> None:
    for decision in decided(f"{{action: {action}, conditions: [{', '.join(conditions)}]}}", tuple(calls)):
        texts = [decision.reason, *(violation.reason for violation in decision.violations)]
        assert not any(CANARY in text or "73190" in text for text in texts)
        assert all(text.count("\n") <= 1 for text in texts)
