"""docs/log.md names every event and every field that a line of the log can have, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import sidecar
from tests.support import ROOT

RUNBOOKS = ROOT / "docs" / "runbooks"
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


def said_in_runbooks() -> list[tuple[str, str]]:
    """Each word with an underscore that a runbook has in code on its own, after the name of the page."""
    return [
        (path.name, word)
        for path in sorted(RUNBOOKS.glob("*.md"))
        for word in re.findall(r"`([a-z]+(?:_[a-z]+)+)`", path.read_text(encoding="utf-8"))
    ]


def test_what_runbooks_name_is_an_event_of_the_log_or_a_documented_word_of_something_else() -> None:
    events = column("Events")
    others = "".join(
        (ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("audit.md", "metrics.md", "policy.md")
    )
    elsewhere = set(re.findall(r"`(\w+)`", others)) - events
    words = [(page, word) for page, word in said_in_runbooks() if not word.startswith(("mcp_policy_", "container_"))]
    assert [(page, word) for page, word in words if word not in events | elsewhere] == []
    assert len([word for _, word in words if word in events]) > 10


def test_what_runbooks_call_a_log_line_is_an_event_of_the_log() -> None:
    """`The log line` is followed by one event or several, up to the verb."""
    events = column("Events")
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = re.sub(r"\s+", " ", path.read_text(encoding="utf-8"))
        for names in re.findall(r"[Ll]og lines?,? ((?:`\w+`(?:, | or | and )?)+)", text):
            assert set(re.findall(r"`(\w+)`", names)) <= events, f"{path.name}: {names}"
