"""What a policy says of a tool: where two say the same, every call of it is decided alike, so few are judged."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.policy.bundle import build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.read import read
from sidecar.rehearsal.diff.sides import Side, tools
from tests.policy.drawing import calls_of, policies
from tests.policy.evaluator import decide
from tests.policy.test_agreement import yaml
from tests.rehearsal.diff.mutating import edited


class Totals(dict[str, Decimal]):
    def __missing__(self, name: str) -> Decimal:
        return Decimal(0)


def side(policy: dict[str, Any] | str) -> Side | None:
    file, problems = read(policy if isinstance(policy, str) else yaml(policy), "policy.yaml")
    made, clashes = merge([file])
    if not all(problem.warning for problem in (*problems, *clashes, *check(made))):
        return None
    return Side(made, build(compile_policy(made), serial=1))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_tools_of_which_two_policies_say_the_same_are_decided_alike(data: st.DataObject) -> None:
    old = data.draw(policies())
    new = edited(data, old)
    one, other = side(old), side(new)
    if one is None or other is None:
        return
    for call in data.draw(st.lists(calls_of(old), min_size=10, max_size=10)):
        if one.said_of(call.tool) == other.said_of(call.tool):
            totals = Totals(call.totals)
            before, after = (decide(policy, call.tool, call.arguments, totals, call.caller) for policy in (old, new))
            assert before == after, call


def named(old: str, new: str, *others: str) -> list[str]:
    one, other = side(old), side(new)
    assert one is not None
    assert other is not None
    return tools(one, other, others)


def test_every_named_tool_is_called_and_one_that_nobody_names() -> None:
    policy = "hide: [h]\ntools: {a: {rules: []}, b: {rules: []}}\n"
    assert named(policy, "tools: {c: {rules: []}}\n") == ["a", "b", "c", "h", "some_tool"]
    assert named(policy, "tools: {c: {rules: []}}\n", "listed") == ["a", "b", "c", "h", "listed"]


def test_for_patterns_there_is_a_name_for_each_set_of_entries_that_apply() -> None:
    policy = "tools: {'read_*': {rules: []}, '*_file': {rules: []}, '*': {rules: []}}\n"
    found = named(policy, policy)
    matched = {(name.startswith("read_"), name.endswith("_file")) for name in found}
    assert matched == {(True, False), (False, True), (True, True), (False, False)}


def test_a_pattern_of_one_policy_alone_has_a_name() -> None:
    assert any(name.startswith("drop_") for name in named("tools: {}\n", "tools: {'drop_*': {rules: []}}\n"))
    assert any(name.startswith("drop_") for name in named("hide: ['drop_*']\ntools: {}\n", "tools: {}\n"))
