"""What an approval is bound to of a rule: all that the rule says, and nothing of where it stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.content import content
from sidecar.policy.facts import facts
from sidecar.policy.merge import merge
from sidecar.policy.model import Rule
from sidecar.policy.problem import Place
from sidecar.policy.read import read
from tests.policy import drawing
from tests.policy.test_agreement import yaml

FULL = """\
name: big
action: require_approval
reason: Ask the desk
approval_timeout: 5m
approvers: 2
grant: {for: 1h, calls: 10, same: [args.id], at_most: [args.sz]}
conditions:
- {path: args.sz, op: gt, value: 5, times: args.px, decimal_text: true}
- {path: args.side, op: in, value: [buy, "5"]}
state: {counter: n, window: day, increment: 2, scope: session}
refund: on_error
"""


def contents(text: str) -> list[str]:
    """The contents of all rules of a policy that ask, in its order."""
    file, problems = read(text, "p.yaml")
    assert problems == []
    policy, _ = merge([file])
    return [content(rule) for entry in policy.entries for rule in entry.rules if rule.action == "require_approval"]


def of(rule: str) -> str:
    """The content of a rule, as the only one of a policy."""
    [found] = contents(f"tools:\n  t:\n    rules:\n{indented(rule)}")
    return found


def indented(rule: str) -> str:
    first, *others = rule.splitlines()
    return "\n".join([f"      - {first}", *(f"        {line}" for line in others)]) + "\n"


@pytest.mark.parametrize(("said", "instead"), [
    ("name: big\n", "name: bigger\n"), ("name: big\n", ""), ("Ask the desk", "Ask the Desk"), ("reason:", "on_deny:"),
    ("reason: Ask the desk\n", ""), ("5m", "6m"), ("approval_timeout: 5m\n", ""), ("approvers: 2", "approvers: 3"),
    ("approvers: 2\n", ""), ("for: 1h", "for: 2h"), ("calls: 10", "calls: 11"), ("[args.id]", "[args.ids]"),
    ("[args.id]", "[args.id, args.x]"), (", at_most: [args.sz]", ""), ("same: [args.id], at_most: [args.sz]",
    "same: [args.sz], at_most: [args.id]"), ("op: gt", "op: gte"), ("value: 5,", "value: 6,"), ("args.px", "args.py"),
    (", times: args.px", ""), (", decimal_text: true", ""), ("path: args.sz", "path: args.s"),
    ("path: args.sz", "path: principal.sz"), ('"5"', "5"), ("[buy, ", "[sell, "), ('[buy, "5"]', '["5", buy]'),
    ("counter: n", "counter: m"), ("window: day", "window: 1h"), ("increment: 2", "increment: 3"),
    (", scope: session", ""), ("refund: on_error\n", ""), ("refund: on_error", "refund: on_error\nmode: monitor"),
    ("name: big\n", "name: big\nonly: [id]\n"),
])  # fmt: skip
def test_an_edit_of_the_rule_is_another_content(said: str, instead: str) -> None:
    assert said in FULL
    if said == "reason:":
        assert of(FULL.replace(said, instead)) == of(FULL), "another word for the same"
        return
    changed = FULL.replace(said, instead, 1)
    before, after = parsed(FULL), parsed(changed)
    assert content(before) != content(after)


def parsed(rule: str) -> Rule:
    """A rule as it is read, be it one that `validate` would not take."""
    file, _ = read(f"tools:\n  t:\n    rules:\n{indented(rule)}", "p.yaml")
    return file.entries[0].rules[0]


@pytest.mark.parametrize("text", [
    "# a comment\ntools:\n  t:\n    rules:\n{rule}",
    "tools:\n  other: {rules: [{action: deny}]}\n  t:\n    rules:\n      - {action: deny}\n{rule}",
    "approvals: {timeout: 2h, use_within: 1m, hold: 9s, four_eyes: true}\ntools:\n  t:\n    rules:\n{rule}",
    "default: deny\nmode: monitor\nhide: [x]\ntools:\n  renamed:\n    rules:\n{rule}",
    'tools:\n  "t*":\n    class: Write\n    severity: low\n    rules:\n{rule}',
    "classes:\n  Write:\n    rules:\n{rule}tools:\n  t: {class: Write}\n",
])  # fmt: skip
def test_a_rule_that_moves_and_whatever_else_changes_leaves_it(text: str) -> None:
    assert contents(text.replace("{rule}", indented(FULL))) == [of(FULL)]


def test_a_rule_without_name_and_reason_may_move_too() -> None:
    [alone] = contents("tools: {t: {rules: [{action: require_approval}]}}")
    assert contents("tools: {u: {rules: [{action: deny}, {action: require_approval}]}}") == [alone]


ASKING = st.one_of(drawing.approvals, drawing.approvals_of_spending)


@given(st.data())
def test_two_rules_have_one_content_exactly_when_they_say_the_same(data: st.DataObject) -> None:
    one = data.draw(ASKING)
    shorter = st.sets(st.sampled_from(sorted(one.keys() - {"action"}))).map(
        lambda dropped: {key: value for key, value in one.items() if key not in dropped}
    )
    other = data.draw(st.one_of(ASKING, shorter))
    first, second = rule_of({"t": [one]}), rule_of({"a": [{"action": "deny"}], "t": [{"action": "deny"}, other]})
    assert (content(first) == content(second)) is (unplaced(first) == unplaced(second))


def rule_of(tools: dict[str, Any]) -> Rule:
    """The last rule of the last tool."""
    file, _ = read(yaml({"tools": {name: {"rules": rules} for name, rules in tools.items()}}), "p.yaml")
    return file.entries[-1].rules[-1]


def unplaced(rule: Rule) -> Rule:
    """A rule without where it stands."""
    nowhere = Place("", 0, 0)
    conditions = tuple(replace(one, place=nowhere, path_place=nowhere) for one in rule.conditions)
    return replace(rule, entry="", position=0, place=nowhere, conditions=conditions)


def test_what_the_engine_answers_is_the_content() -> None:
    file, _ = read(f"tools:\n  t:\n    rules:\n{indented(FULL)}", "p.yaml")
    policy, _ = merge([file])
    assert facts(policy)["tools"]["t"][0]["approval"]["content"] == of(FULL)
