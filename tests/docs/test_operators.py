"""The table of operators in docs/policy.md is the one that the code works by."""

from __future__ import annotations

from sidecar.policy.operators import OPERANDS, OPERATORS
from tests.support import ROOT

HEAD = ["| op | `value` | true when |", "|---|---|---|"]


def test_the_documents_have_the_table_of_the_code() -> None:
    rows = [f"| `{item.name}` | {OPERANDS[item.operand]} | {item.meaning} |" for item in OPERATORS.values()]
    lines = (ROOT / "docs" / "policy.md").read_text().splitlines()
    begin = next(at for at, line in enumerate(lines) if line.startswith("| op |"))
    end = next(at for at in range(begin, len(lines)) if not lines[at].startswith("|"))
    table = "\n".join([*HEAD, *rows])
    assert lines[begin:end] == table.splitlines(), f"paste into docs/policy.md:\n{table}"
