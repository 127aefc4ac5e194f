"""Where hand-written Rego asks for more than other rules read, the calls of tests carry it to the boundaries."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.rehearsal.cases import load_cases
from sidecar.rehearsal.diff.comparing import Compared, compare
from sidecar.repository.subject import subject
from tests.support import OPA

POLICY = "tools: {pay: {rules: [{name: small, conditions: [{path: args.amount, op: lte, value: 1000}]}]}, look: {}}\n"
CLAIM = """
passes if {
	input.arguments.amount <= 500
}

passes if {
	"traders" in input.principal.claims.groups
}
"""
ARGUMENT = """
passes if {
	input.arguments.ticket.approved == true
}
"""
NAMESPACE = """
passes if {
	input.workload.namespace == "prod"
}
"""
TRADER = "principal: {subject: bert, claims: {groups: [traders]}}"
TICKET = "arguments: {ticket: {approved: true}, amount: 1}"


def compared(folder: Path, passes: str, step: str, old: str, new: str) -> Compared:
    rego = 'package intercept.custom\n\nviolations contains {"rule": "more", "reason": "no"} if {\n'
    rego += f'\tinput.tool == "pay"\n\tnot passes\n}}\n{passes}'
    for side, value in {"old": old, "new": new}.items():
        for name, text in {
            "policies/policy.yaml": POLICY.replace("1000", value), "rego/custom/rules.rego": rego,
            "tests/policy.yaml": f"- name: n\n  workload: {{namespace: prod}}\n  steps: [{step}]\n",
        }.items():  # fmt: skip
            path = folder / side / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
    cases = load_cases([folder / "new" / "tests" / "policy.yaml"])
    before, after = (subject(folder / side, OPA) for side in ("old", "new"))
    return asyncio.run(compare(before, after, OPA, cases, ()))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("passes", "step"),
    [
        (CLAIM, f"{{call: pay, arguments: {{amount: 501}}, {TRADER}, expect: allow}}"),
        (ARGUMENT, f"{{call: pay, {TICKET}, expect: allow}}"),
        (NAMESPACE, "{call: pay, arguments: {amount: 1}, expect: allow}"),
    ],
    ids=["claim", "argument", "namespace"],
)  # fmt: skip
def test_what_a_rule_lets_pass_shows_though_rego_refuses_every_generated_call(
    tmp_path: Path, passes: str, step: str
) -> None:
    found = compared(tmp_path, passes, step, "1000", "2000")
    assert [(one.tool, one.old.rule) for one in found.allowed] == [("pay", "small")]
    assert found.allowed[0].origin.endswith(("tests/policy.yaml:3, varied", "generated"))
    back = compared(tmp_path / "back", passes, step, "2000", "1000")
    assert [(one.tool, one.new.rule) for one in back.tightened] == [("pay", "small")]
    assert back.allowed == []


@pytest.mark.slow
def test_what_does_not_change_is_not_told(tmp_path: Path) -> None:
    found = compared(tmp_path, CLAIM, f"{{call: pay, arguments: {{amount: 501}}, {TRADER}, expect: allow}}", "9", "9.0")
    assert not found.differs
