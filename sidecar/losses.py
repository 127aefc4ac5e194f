"""What a changed policy takes away from the one in force, and whether its files say so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sidecar.files import Found
from sidecar.policy import nodes
from sidecar.policy.bundle import FACTS, Bundle
from sidecar.policy.facts import file_name


def share(old: Bundle, new: Bundle) -> float:
    """Which share of the old policy is not there any more: 0 for nothing, 1 for all of it."""
    before, after = _restrictions(old), _restrictions(new)
    if "default" in before - after:
        return 1.0
    return len(before - after) / len(before) if before else 0.0


def unsaid(found: Sequence[Found], old: Bundle, new: Bundle) -> list[str]:
    """Which files take every rule away, or say nothing at all, and do not say themselves that this is meant.

    `found` are the files that `new` was made of.
    """
    problems = []
    for one in found:
        name = file_name(str(one.path))
        had, has = _tools_with_rules(old, name), _tools_with_rules(new, name)
        members = {} if has else _members(_tree(one))
        if has or _says_so(members.get("tools"), had):
            continue
        if had:
            problems.append(
                f"{one.path}: takes every rule away: write `tools: {{}}` if that is meant, or `rules: []` for each tool"
            )
        elif not any(_says_something(node) for key, node in members.items() if key not in _ABOUT_ITSELF):
            problems.append(
                f"{one.path}: says nothing any more: write `tools: {{}}` for a policy that allows everything"
            )
    return problems


_ABOUT_ITSELF = ("version", "description")


def _restrictions(bundle: Bundle) -> set[object]:
    terms, facts = bundle.terms, json.loads(bundle.files[FACTS])
    rules: set[object] = {(rule.file, rule.tool, rule.rule) for rule in terms.rules}
    rules |= {("hide", name) for name in terms.hidden} | {("methods", name) for name in terms.methods.deny}
    if terms.methods.unknown == "deny":
        rules.add(("methods", "unknown"))
    return rules | ({"default"} if facts["default"] == "deny" else set())


def _tools_with_rules(bundle: Bundle, file: str) -> set[str]:
    return {rule.tool for rule in bundle.terms.rules if rule.file == file}


def _tree(found: Found) -> nodes.Node:
    assert found.content is not None  # a policy was made of it
    return nodes.parse(found.content.data.decode(), str(found.path))[0]


def _members(node: nodes.Node) -> dict[str, nodes.Node]:
    return node.members if isinstance(node, nodes.Mapping) else {}


def _says_something(node: nodes.Node) -> bool:
    return not (isinstance(node, nodes.Scalar) and node.value is None)


def _says_so(tools: nodes.Node | None, had: set[str]) -> bool:
    """Whether `tools` is an empty object, or every tool that had rules has an empty list of them."""
    if not isinstance(tools, nodes.Mapping):
        return False
    emptied = {tool for tool, entry in tools.members.items() if _is_list(_members(entry).get("rules"))}
    return not tools.members or (bool(had) and had <= emptied)


def _is_list(node: Any) -> bool:
    return isinstance(node, nodes.Sequence)
