"""What the sidecar knows of a policy beside its Rego: which tools are asked about, by which rules, and how."""

from __future__ import annotations

import pytest

from sidecar.policy.terms import ApprovalTerms, Terms
from tests.policy.test_compile import bundle_of

ASKING = """\
classes:
  Destructive: {rules: [{name: gone, action: require_approval}]}
tools:
  pay:
    rules:
      - {name: big, action: deny, conditions: [{path: args.n, op: gt, value: 9}]}
      - {name: asks, action: require_approval, conditions: [{path: args.n, op: gt, value: 5}]}
  drop: {class: Destructive}
  watched: {rules: [{action: require_approval, mode: monitor}]}
  "cancel_*":
    rules:
      - {name: asks, action: require_approval}
      - {name: big, action: require_approval}
  "wipe_*": {class: Destructive}
  "?et": {rules: [{rate_limit: 5/day}]}
"""


def terms(text: str) -> Terms:
    return bundle_of(text).terms


@pytest.mark.parametrize(("tool", "asks"), [
    ("pay", True), ("drop", True), ("cancel_order", True), ("wipe_all", True), ("watched", False), ("get", False),
    ("paying", False), ("other", False), ("cancel_*", True),
])  # fmt: skip
def test_tools_of_which_a_rule_asks_are_known(tool: str, asks: bool) -> None:
    assert terms(ASKING).asks(tool) is asks


def test_a_rule_for_every_tool_asks_about_every_tool() -> None:
    known = terms('tools: {"*": {rules: [{action: require_approval}]}}')
    assert [known.asks(tool) for tool in ("a", "*", "intercept")] == [True, True, True]
    assert known.asking_patterns == ()


def test_a_policy_without_such_a_rule_asks_about_none() -> None:
    known = terms("tools: {t: {rules: [{action: deny}]}}")
    assert (known.asks("t"), known.asking, known.asking_patterns) == (False, frozenset(), ())


@pytest.mark.parametrize(("tool", "rule", "place"), [
    ("pay", "asks", ("p.yaml", 7)), ("cancel_order", "asks", ("p.yaml", 12)), ("cancel_order", "big", ("p.yaml", 13)),
    ("pay", "big", ("", 0)), ("pay", "gone", ("", 0)), ("drop", "gone", ("p.yaml", 2)),
    ("wipe_x", "gone", ("p.yaml", 2)), ("watched", "watched#1", ("", 0)),
])  # fmt: skip
def test_a_rule_that_asks_is_found_by_tool_and_name(tool: str, rule: str, place: tuple[str, int]) -> None:
    assert terms(ASKING).place_of(tool, rule) == place


@pytest.mark.parametrize(("text", "told"), [
    ("tools: {t: {rules: [{action: require_approval}]}}", False),
    ("tools: {t: {rules: [{action: require_approval}, {action: require_approval, approvers: 2}]}}", True),
    ("tools: {t: {rules: [{action: require_approval, approvers: 2, mode: monitor}]}}", False),
    ("approvals: {four_eyes: true}\ntools: {t*: {rules: [{action: require_approval}]}}", True),
    ("approvals: {four_eyes: true}\ntools: {t: {rules: [{action: deny}]}}", False),
])  # fmt: skip
def test_where_it_matters_who_asked_is_known(text: str, told: bool) -> None:
    assert terms(text).tells_apart is told


def test_how_approvals_work_is_known() -> None:
    assert terms("tools: {t: }").approvals == ApprovalTerms()
    known = terms("""\
approvals:
  hold: 45s
  four_eyes: true
  mask: [args.key, "args.all[*].secret"]
  answer: result
  notify: {webhook: {url: "https://example.com/hook", secret_env: HOOK_SECRET}}
""").approvals
    assert known == ApprovalTerms(
        hold=45, four_eyes=True, mask=(("key",), ("all", None, "secret")), answer="result",
        webhook="https://example.com/hook", secret_env="HOOK_SECRET",
    )  # fmt: skip
