"""Rules that can no longer match are named, those of the new policy only."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.rehearsal.diff.dead_rules import dead_rules
from sidecar.rehearsal.diff.sides import Side


def side(rules: str, more: str = "") -> Side:
    file, problems = read(f"{more}tools: {{t: {{rules: [{rules}]}}}}\n", "policy.yaml")
    assert [problem for problem in problems if not problem.warning] == []
    policy = merge([file])[0]
    return Side(policy, build(compile_policy(policy), serial=1))


def named(old: Side, new: Side, before: Sequence[str] | None = None, now: Sequence[str] | None = None) -> list[str]:
    return [f"{one.rule}: {one.why}" for one in dead_rules(old, new, before, now)]


PLAIN = "{name: a, conditions: [{path: args.n, op: lte, value: 5}]}"


def test_a_rule_whose_tool_is_gone_from_the_list_is_named_once_it_is() -> None:
    assert named(side(PLAIN), side(PLAIN), ["t"], ["u"]) == ["a: its tool is not in tools.json"]
    assert named(side(PLAIN), side(PLAIN), ["u"], ["u"]) == []
    assert named(side(PLAIN), side(PLAIN), None, ["t"]) == []


def test_a_rule_after_one_that_refuses_everything_is_named() -> None:
    closed = side("{name: no, action: deny}, " + PLAIN)
    assert named(side(PLAIN), closed) == ["a: line 1 refuses every call before it"]
    assert named(closed, closed) == []
    assert named(side(PLAIN), side("{name: no, action: deny, mode: monitor}, " + PLAIN)) == []


def test_a_rule_of_a_hidden_tool_is_named() -> None:
    assert named(side(PLAIN), side(PLAIN, "hide: [t]\n")) == ["a: the tool is hidden, so every call is refused before"]


def conditions(*said: str) -> str:
    return f"{{name: a, action: deny, conditions: [{', '.join(f'{{path: args.n, {one}}}' for one in said)}]}}"


@pytest.mark.parametrize(
    "said",
    [
        ("op: gt, value: 5", "op: lt, value: 5"),
        ("op: gt, value: 5", "op: lte, value: 5"),
        ("op: eq, value: x", "op: in, value: [y, z]"),
        ("op: eq, value: 6", "op: lt, value: 5"),
        ("op: in, value: [1, 2]", "op: gt, value: 2"),
    ],
)
def test_conditions_that_contradict_each_other_are_named(said: tuple[str, str]) -> None:
    [found] = named(side(PLAIN), side(conditions(*said)))
    assert found.startswith("a: its conditions contradict each other (lines 1 and 1)")


@pytest.mark.parametrize(
    "said",
    [
        ("op: gte, value: 5", "op: lte, value: 5"),
        ("op: eq, value: '5'", "op: in, value: [5]"),
        ("op: eq, value: 5", "op: lte, value: 5"),
        ("op: neq, value: 5", "op: neq, value: 6"),
        ("op: in, value: [1, x]", "op: gt, value: 0"),
    ],
)
def test_conditions_that_some_value_meets_are_not(said: tuple[str, str]) -> None:
    assert named(side(PLAIN), side(conditions(*said))) == []
