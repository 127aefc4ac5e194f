"""Which tools a list shows under `list: callable`, by the engine: those that some call could pass."""

from __future__ import annotations

import pytest

from sidecar.policy.bundle import build
from sidecar.policy.compile import compile_policy
from tests.policy.test_agreement import ask_visible
from tests.policy.test_merge import merged

CLASSES = "classes: {Financial: {rules: [{action: deny}]}}\ntools: "
TOOLS = ["a", "ab", "b", "c"]


@pytest.mark.parametrize(("policy", "hidden"), [
    ("default: deny\ntools: {a: , 'a*': {rules: [{rate_limit: 5/day}]}, '?*': {rules: []}}",
     {"b": "(default deny)", "c": "(default deny)"}),
    ("tools: {a: {rules: [{action: allow}, {name: never, action: deny}]}}", {"a": "never"}),
    ("tools: {a: {rules: [{action: deny, mode: monitor}]}}", {}),
    ("tools: {a: {rules: [{action: deny, conditions: [{path: args.x, op: exists, value: true}]}]}}", {}),
    ("tools: {a: {rules: [{conditions: [{path: args.x, op: exists, value: true}]}]}}", {}),
    ("tools: {a: {rules: [{action: require_approval}]}}", {}),
    ("tools: {a: {rules: [{state: {counter: n, window: day}, conditions: [{path: state.a.n, op: lte, value: -1}]}]}}",
     {"a": "a#1"}),
    ("tools: {'a?': {rules: [{state: {counter: n, window: day}, conditions: [{path: state.a?.n, op: lt, value: 1}]}]}}",
     {"ab": "a?#1"}),
    ("tools: {b: {rules: [{state: {counter: n, window: day}, conditions: [{path: state.b.n, op: lt, value: 2}]}]}}",
     {}),
    ("tools: {'*': {rules: [{name: all, action: deny}]}}\nhide: [a]",
     {"a": "(hidden)", "ab": "all", "b": "all", "c": "all"}),
    (f"{CLASSES}{{'a*': {{class: Financial}}, a: {{class: Read}}, b: {{class: Financial}}}}",
     {"ab": "a*#1", "b": "b#1"}),
    (f"{CLASSES}{{a: {{class: Financial, rules: []}}, b: {{class: Read}}}}", {}),
])  # fmt: skip
def test_what_no_call_could_pass_is_not_listed(policy: str, hidden: dict[str, str]) -> None:
    made, _ = merged(f"list: callable\n{policy}")
    answer = ask_visible(build(compile_policy(made), serial=1), TOOLS)
    assert answer.hidden == hidden
    assert list(answer.visible) == [tool for tool in TOOLS if tool not in hidden]
    shown, _ = merged(policy)
    assert ask_visible(build(compile_policy(shown), serial=1), TOOLS).hidden.keys() <= {"a"}
