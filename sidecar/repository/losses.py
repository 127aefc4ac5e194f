"""What a changed policy loses of the one in force, and whether its files declare that this is meant."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sidecar.policy import nodes
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.system.files import Found


def share(old: Bundle, new: Bundle) -> float:
    """The share of the old policy's restrictions that the new one lost, from 0 to 1."""
    before, after = _restrictions(old), _restrictions(new)
    if "default" in before - after:
        return 1.0
    return len(before - after) / len(before) if before else 0.0


def unsaid(before: Sequence[Found], after: Sequence[Found]) -> list[str]:
    """A problem for each file that lost all its restrictions, or all content, without declaring that it is meant.

    Both are files of valid policies. They are paired by their order, because two may have the same name.
    """
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if not new.holds_as(old)]
    if not pairs:
        return []
    old_classes, new_classes = _classes_with_rules(before), _classes_with_rules(after)
    return [problem for old, new in pairs if (problem := _unsaid(old, old_classes, new, new_classes))]


def _unsaid(old: Found, old_classes: set[str], new: Found, new_classes: set[str]) -> str:
    now = _members(_tree(new))
    if _tools_with_rules(now, new_classes):
        return ""
    was = _members(_tree(old))
    had = _tools_with_rules(was, old_classes)
    if _says_so(now.get("tools"), had):
        return ""
    if had:
        return f"{new.path}: takes every rule away: write `tools: {{}}` if that is meant, or `rules: []` for each tool"
    if _limits(was) and not _limits(now):
        return f"{new.path}: takes away all that it forbade: write `tools: {{}}` if that is meant"
    if not any(_says_something(node) for key, node in now.items() if key not in _ABOUT_ITSELF):
        return f"{new.path}: says nothing any more: write `tools: {{}}` for a policy that allows everything"
    return ""


_ABOUT_ITSELF = ("version", "description")


def _restrictions(bundle: Bundle) -> set[object]:
    """What keeps calls back: nothing of what only reports."""
    terms, facts = bundle.terms, json.loads(bundle.files[FACTS])
    if terms.monitor:
        return set()
    rules: set[object] = {(rule.file, rule.tool, rule.rule) for rule in terms.rules if not rule.reports}
    rules |= {("hide", name) for name in terms.hidden} | {("methods", name) for name in terms.methods.deny}
    if terms.methods.unknown == "deny":
        rules.add(("methods", "unknown"))
    rules |= {("asks", info.tool, info.rule) for _, info in terms.asking_rules}
    rules |= {("mask", path) for path in terms.approvals.mask}
    if terms.approvals.four_eyes:
        rules.add(("approvals", "four_eyes"))
    return rules | ({"default"} if facts["default"] == "deny" else set())


def _classes_with_rules(files: Sequence[Found]) -> set[str]:
    classes = (item for file in files for item in _members(_members(_tree(file)).get("classes")).items())
    return {name for name, node in classes if _items(_members(node).get("rules"))}


def _tools_with_rules(file: dict[str, nodes.Node], classes: set[str]) -> set[str]:
    """The tools of a file that have rules, their own or those of a class that has some."""
    entries = {tool: _members(entry) for tool, entry in _members(file.get("tools")).items()}
    return {
        tool
        for tool, entry in entries.items()
        if (_items(entry.get("rules")) if "rules" in entry else _value(entry.get("class")) in classes)
    }


def _limits(file: dict[str, nodes.Node]) -> bool:
    """True for a file that forbids something without a rule, or configures approvals."""
    methods = _members(file.get("methods"))
    return bool(
        _items(file.get("hide"))
        or _value(file.get("default")) == "deny"
        or _value(methods.get("unknown")) == "deny"
        or _items(methods.get("deny"))
        or _members(file.get("approvals"))
        or _members(file.get("classes"))
    )


def _tree(found: Found) -> nodes.Node:
    assert found.content is not None  # a policy was made of it
    return nodes.parse(found.content.data.decode(), str(found.path))[0]


def _members(node: nodes.Node | None) -> dict[str, nodes.Node]:
    return node.members if isinstance(node, nodes.Mapping) else {}


def _items(node: nodes.Node | None) -> tuple[nodes.Node, ...]:
    return node.items if isinstance(node, nodes.Sequence) else ()


def _value(node: nodes.Node | None) -> nodes.Plain:
    return node.value if isinstance(node, nodes.Scalar) else None


def _says_something(node: nodes.Node) -> bool:
    return not (isinstance(node, nodes.Scalar) and node.value is None)


def _says_so(tools: nodes.Node | None, had: set[str]) -> bool:
    """True if `tools` is an empty object, or if every tool that had rules now has an empty list of them."""
    if not isinstance(tools, nodes.Mapping):
        return False
    lists = {tool: _members(entry).get("rules") for tool, entry in tools.members.items()}
    emptied = {tool for tool, rules in lists.items() if isinstance(rules, nodes.Sequence)}
    return not tools.members or (bool(had) and had <= emptied)
