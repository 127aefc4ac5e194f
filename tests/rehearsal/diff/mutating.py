"""Random edits of a policy, as somebody makes them who means something else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeAlias

from hypothesis import strategies as st

from tests.policy.drawing import FOLDERS, HOSTS, NUMBERS, TEXTS
from tests.policy.judging import PATTERNS

Policy: TypeAlias = dict[str, Any]
Edit: TypeAlias = Callable[[st.DataObject, Policy], None]
SWAPPED = {
    "lt": "lte", "lte": "lt", "gt": "gte", "gte": "gt", "eq": "neq", "neq": "eq", "in": "not_in", "not_in": "in",
    "regex": "not_regex", "not_regex": "regex", "contains": "not_contains", "not_contains": "contains",
}  # fmt: skip


def rules_of(policy: Policy) -> list[tuple[list[dict[str, Any]], int]]:
    """Each rule by the list that it is in and its position."""
    bodies = [*policy["tools"].values(), *policy.get("classes", {}).values()]
    return [(body["rules"], at) for body in bodies for at in range(len(body.get("rules", [])))]


def conditions_of(policy: Policy) -> list[tuple[list[dict[str, Any]], int]]:
    """Each condition by the list that it is in and its position."""
    rules = [rules[at] for rules, at in rules_of(policy)]
    return [(rule["conditions"], at) for rule in rules for at in range(len(rule.get("conditions", [])))]


def drop_rule(data: st.DataObject, policy: Policy) -> None:
    if found := rules_of(policy):
        rules, at = data.draw(st.sampled_from(found))
        rules.pop(at)


def drop_condition(data: st.DataObject, policy: Policy) -> None:
    if found := [item for item in conditions_of(policy) if len(item[0]) > 1]:
        conditions, at = data.draw(st.sampled_from(found))
        conditions.pop(at)


def move_value(data: st.DataObject, policy: Policy) -> None:
    if found := conditions_of(policy):
        conditions, at = data.draw(st.sampled_from(found))
        condition = conditions[at] = dict(conditions[at])
        match condition["op"]:
            case "in" | "not_in":
                condition["value"] = [*condition["value"], data.draw(st.sampled_from([*NUMBERS[:12], *TEXTS[:12]]))]
            case "regex" | "not_regex":
                condition["value"] = data.draw(st.sampled_from(list(PATTERNS)))
            case "within":
                condition["value"] = data.draw(st.sampled_from(FOLDERS))
            case "host_in":
                condition["value"] = data.draw(st.sampled_from(HOSTS))
            case "exists":
                condition["value"] = not condition["value"]
            case "lt" | "lte" | "gt" | "gte":
                condition["value"] = data.draw(st.sampled_from(NUMBERS[:20]))
            case _:
                condition["value"] = data.draw(st.sampled_from([*NUMBERS[:12], *TEXTS[:12]]))


def swap_operator(data: st.DataObject, policy: Policy) -> None:
    if found := [item for item in conditions_of(policy) if item[0][item[1]]["op"] in SWAPPED]:
        conditions, at = data.draw(st.sampled_from(found))
        conditions[at] = {**conditions[at], "op": SWAPPED[conditions[at]["op"]]}


def toggle(data: st.DataObject, policy: Policy) -> None:
    """Let a condition read text as a number, or be optional."""
    if found := conditions_of(policy):
        conditions, at = data.draw(st.sampled_from(found))
        key = data.draw(st.sampled_from(["decimal_text", "optional"]))
        condition = dict(conditions[at])
        conditions[at] = {name: value for name, value in condition.items() if name != key}
        if key not in condition:
            conditions[at][key] = True


def turn_default(data: st.DataObject, policy: Policy) -> None:
    policy["default"] = "allow" if policy["default"] == "deny" else "deny"


def unhide(data: st.DataObject, policy: Policy) -> None:
    if policy.get("hide"):
        policy["hide"] = policy["hide"][1:]


def monitor(data: st.DataObject, policy: Policy) -> None:
    if found := rules_of(policy):
        rules, at = data.draw(st.sampled_from(found))
        rules[at] = {**rules[at], "mode": "monitor"}


def change_action(data: st.DataObject, policy: Policy) -> None:
    if found := [
        (rules, at) for rules, at in rules_of(policy) if rules[at].get("action") in ("deny", "require_approval")
    ]:
        rules, at = data.draw(st.sampled_from(found))
        rule = rules[at]
        rules[at] = {**rule, "action": "require_approval" if rule["action"] == "deny" else "deny"}


def more_keys(data: st.DataObject, policy: Policy) -> None:
    if found := [(rules, at) for rules, at in rules_of(policy) if "only" in rules[at]]:
        rules, at = data.draw(st.sampled_from(found))
        rules[at] = {**rules[at], "only": [*rules[at]["only"], "an extra one"]}


def raise_limit(data: st.DataObject, policy: Policy) -> None:
    if found := [(rules, at) for rules, at in rules_of(policy) if "spend_limit" in rules[at]]:
        rules, at = data.draw(st.sampled_from(found))
        block = dict(rules[at]["spend_limit"])
        key = data.draw(st.sampled_from(["per_call", "max"]))
        if key in block:
            block[key] = block[key] + Decimal(data.draw(st.sampled_from(["1", "0.01", "10"])))
        rules[at] = {**rules[at], "spend_limit": block}


def drop_tool(data: st.DataObject, policy: Policy) -> None:
    if len(policy["tools"]) > 1:
        policy["tools"].pop(data.draw(st.sampled_from(sorted(policy["tools"]))))


def reclass(data: st.DataObject, policy: Policy) -> None:
    if found := [body for body in policy["tools"].values() if "class" in body and "rules" in body]:
        del data.draw(st.sampled_from(found))["rules"]


EDITS: list[Edit] = [
    *[drop_rule] * 3, *[move_value] * 5, *[drop_condition] * 2, *[swap_operator] * 3, toggle, turn_default, unhide,
    monitor, change_action, more_keys, raise_limit, drop_tool, reclass,
]  # fmt: skip


def edited(data: st.DataObject, policy: Policy) -> Policy:
    """The policy after an edit or two."""
    made = copy.deepcopy(policy)
    for edit in data.draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=2)):
        edit(data, made)
    return made
