"""docs/log.md names every event and every field that a line of the log can have, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sidecar
from tests.support import ROOT

DOCUMENT = (ROOT / "docs" / "log.md").read_text(encoding="utf-8")


def calls() -> list[ast.Call]:
    """Every call that names an event."""
    found = []
    for path in sorted(Path(sidecar.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("fields", "_of"):
                found.append(node)
    return found


def constants(node: ast.expr) -> set[str]:
    """The texts that an expression can be."""
    match node:
        case ast.Constant(str(text)):
            return {text}
        case ast.IfExp(body=one, orelse=other):
            return constants(one) | constants(other)
        case _:
            return set()


def column(heading: str) -> set[str]:
    """The words in the first column of the table under a heading."""
    table = DOCUMENT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`(\w+)`", cell)}


def test_every_event_is_documented_and_no_other() -> None:
    events = {text for call in calls() if call.args for text in constants(call.args[0])}
    assert column("Events") == events | {"library"}


def test_every_field_is_documented_and_no_other() -> None:
    names = {keyword.arg for call in calls() for keyword in call.keywords if keyword.arg is not None}
    assert column("Fields") == names | {"logger", "exception"}
