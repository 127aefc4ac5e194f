"""What hand-written Rego compares with is put where it looks, so that what stands behind it is explored."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sidecar.rehearsal.diff.comparing import Compared, compare
from sidecar.repository.subject import subject
from tests.support import OPA

POLICY = "tools: {pay: {rules: [{name: small, conditions: [{path: args.amount, op: lte, value: %s}]}]}}\n"
REGO = """package intercept.custom

violations contains {"rule": "more", "reason": "no"} if {
	input.tool == "pay"
	not passes
}

passes if %s
"""


def compared(folder: Path, passes: str) -> Compared:
    for side, value in {"old": "1000", "new": "2000"}.items():
        for name, text in {"policies/p.yaml": POLICY % value, "rego/custom/rules.rego": REGO % passes}.items():
            path = folder / side / name
            path.parent.mkdir(parents=True)
            path.write_text(text)
    before, after = (subject(folder / side, OPA) for side in ("old", "new"))
    return asyncio.run(compare(before, after, OPA, (), ()))


@pytest.mark.parametrize(
    "passes",
    [
        '"traders" in input.principal.claims.groups',
        'input.arguments.currency == "EUR"',
        'input.workload.namespace == "prod"',
        "input.arguments.level >= 7",
    ],
)
def test_values_in_the_text_of_rego_open_what_stands_behind_it(tmp_path: Path, passes: str) -> None:
    found = compared(tmp_path, passes)
    assert [(one.tool, one.old.rule) for one in found.allowed] == [("pay", "small")]


def test_it_is_said_where_rego_refuses_every_call_that_was_made(tmp_path: Path) -> None:
    found = compared(tmp_path, "count(input.arguments.signature) == 40 + 24")
    assert not found.opens
    assert any("pay: hand-written Rego refuses all" in text for text in found.unexplored)
