"""The lines of a policy that decided a call: where the sidecar's audit log says they are, read from the file itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as its file has it: the line at which it begins, and its text."""

    line: int
    text: str


def rule_of(decision: str, state: Path, policy: Path) -> Rule | None:
    """The rule of a policy that decided, or None where no single rule did. Raises `OSError` if the log is silent."""
    line = line_of_rule(decision, state)
    return None if line is None else Rule(line, rule_at(line, policy.read_text(encoding="utf-8")))


def line_of_rule(decision: str, state: Path) -> int | None:
    """The line of the rule that decided, by the audit log in the state folder; None where no single rule did.

    A decision is in the log before its answer goes out. Raises `OSError` if the log has no line on it.
    """
    for log in sorted(state.glob("events/*.jsonl")):
        for entry in map(json.loads, log.read_text(encoding="utf-8").splitlines()):
            if entry.get("decision_id") == decision and entry["event"] == "decision":
                line: int | None = entry.get("line")
                return line
    raise OSError(f"the audit log has no line on decision {decision}")


def rule_at(line: int, policy: str) -> str:
    """The item of a YAML list that begins at a line (from 1) of a policy: its own text, moved to the left."""
    first, *rest = policy.splitlines()[line - 1 :]
    indent = len(first) - len(first.lstrip())
    return "\n".join(text[indent:] for text in [first, *_deeper(rest, indent)])


def _deeper(lines: list[str], indent: int) -> Iterator[str]:
    """The lines of an item after its first: until a blank one, a comment, or what stands no deeper."""
    for text in lines:
        words = text.lstrip()
        if not words or words.startswith("#") or len(text) - len(words) <= indent:
            return
        yield text
