"""A policy in one line: what it is about, and what becomes of all else. Values in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.policy.model import ANY_TOOL, Policy, PolicyEntry


def summary(policy: Policy) -> str:
    """`default: allow; 4 tools with 9 rules; every other tool is allowed`."""
    return "; ".join((f"default: {policy.default}", _covered(policy), _others(policy), *_beside(policy)))


def _covered(policy: Policy) -> str:
    exact = [entry for entry in policy.entries if entry.tool != ANY_TOOL and not entry.is_pattern]
    patterns = [entry for entry in policy.entries if entry.is_pattern]
    parts = [_counted(len(exact), "tool")] if exact or not patterns else []
    if patterns:
        parts.append(_counted(len(patterns), "pattern"))
    return f"{' and '.join(parts)} with {_rules([*exact, *patterns])}"


def _others(policy: Policy) -> str:
    """What becomes of a tool that no name and no pattern covers."""
    if any(item.name == ANY_TOOL for item in policy.hide):
        return "every tool is hidden"
    if policy.default == "deny":
        return "every other tool is refused"
    for_all = [entry for entry in policy.entries if entry.tool == ANY_TOOL]
    if any(entry.rules for entry in for_all):
        return f'every other tool is allowed, with {_rules(for_all)} of "*"'
    return "every other tool is allowed"


def _beside(policy: Policy) -> list[str]:
    hidden = sum(item.name != ANY_TOOL for item in policy.hide)
    said = [f"{_counted(hidden, 'name')} hidden"] if hidden else []
    rules = [rule for entry in policy.entries for rule in entry.rules]
    if reporting := sum(rule.monitor and not rule.shadow for rule in rules):
        said.append(f"{_counted(reporting, 'rule')} only reporting, in monitor mode")
    if shadow := sum(rule.shadow for rule in rules):
        said.append(f"{_counted(shadow, 'rule')} only tried, in shadow")
    return [*said, "mode: monitor, so nothing is refused"] if policy.mode == "monitor" else said


def _rules(entries: Sequence[PolicyEntry]) -> str:
    return _counted(sum(len(entry.rules) for entry in entries), "rule")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
