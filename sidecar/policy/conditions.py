"""Conditions as Rego: the lines that prove that a call meets them, and those that ask in doubt."""

from __future__ import annotations

from typing import Final

from sidecar.policy.model import CallerPath, Condition, CounterName, Rule
from sidecar.policy.paths import Path
from sidecar.policy.rego import array, literal, raw_string, readings, spellings, step

OPERATOR: Final = "operator"
"""The package in which a condition holds only when it can be shown to."""
DOUBT: Final = "doubt"
"""The package in which a condition also holds where it cannot be judged, for rules that ask a person."""


def proof(rule: Rule) -> list[str]:
    """What proves that a call passes the rule, line by line; the conditions of one that asks only say when it does."""
    asked = () if rule.action == "require_approval" else rule.asked
    lines = [line for condition in asked for line in _proved(condition)]
    limit = rule.spend_limit
    if limit and limit.per_call is not None:
        lines += _compared(argument(limit.amount.path), "lte", literal(limit.per_call))
    return list(dict.fromkeys(lines))


def asks(rule: Rule) -> list[str]:
    """What must hold, line by line, for a rule with `require_approval` to ask."""
    return [_in_doubt(condition) for condition in rule.asked]


def libraries(rule: Rule) -> set[str]:
    """The packages of the library that the Rego of a rule calls."""
    used = {"exact"} if rule.amount else set()
    if rule.denies:
        return used
    if rule.action == "require_approval":
        return used | ({DOUBT} if rule.asked else set())
    return used | {OPERATOR for condition in rule.asked if _called(condition)}


def argument(path: Path) -> str:
    """The reference to an argument."""
    return "input.arguments" + "".join(map(step, path))


def _proved(condition: Condition) -> list[str]:
    """The lines that hold together when the condition does; what is simple is written out, since a call costs time."""
    inside, steps = _place(condition)
    reference = inside + "".join(map(step, steps))
    match condition.op:
        case "lt" | "lte" | "gt" | "gte" as op:
            return _compared(reference, op, literal(condition.value))
        case "eq" | "in":
            return [f"{reference} in {_operand(condition, OPERATOR)}"]
        case "exists" if condition.value is True:
            return [f"{reference} != null"]
        case _:
            # `absent` has to hold where the path leads nowhere: it gets the path as steps, and looks itself.
            way = f"{inside}, {array(steps)}" if condition.op == "exists" else reference
            return [_call(OPERATOR, condition, way)]


def _compared(reference: str, op: str, bound: str) -> list[str]:
    # Of any other type OPA would say by its order of types whether it is below the bound.
    return [f"is_number({reference})", f"{reference} {_SIGNS[op]} {bound}"]


def _called(condition: Condition) -> bool:
    return any(line.startswith(f"{OPERATOR}.") for line in _proved(condition))


def _in_doubt(condition: Condition) -> str:
    # The operators of `doubt` get the path as steps, and look themselves how far it leads.
    inside, steps = _place(condition)
    return _call(DOUBT, condition, f"{inside}, {array(steps)}")


def _place(condition: Condition) -> tuple[str, Path]:
    """The document that a condition looks into, and the way: a counter is one step into it."""
    match condition.subject:
        case CounterName() as name:
            return "input.counters", (str(name),)
        case CallerPath(root, steps):
            return f"input.{root}", steps
        case path:
            return "input.arguments", path


def _call(library: str, condition: Condition, way: str) -> str:
    operand = [] if condition.op == "exists" else [_operand(condition, library)]
    return f"{library}.{_function(condition)}({', '.join((way, *operand))})"


def _function(condition: Condition) -> str:
    """The function of the library that stands for the operator."""
    if condition.op == "exists":
        return "present" if condition.value is True else "absent"
    return _FUNCTIONS[condition.op]


def _operand(condition: Condition, library: str) -> str:
    """What the value is compared with."""
    # In each library the operators on the safe side also compare the doubles that servers may read.
    negated = condition.op in ("neq", "not_in")
    equal = readings if negated is (library == OPERATOR) else spellings
    value = condition.value
    match condition.op:
        case "eq" | "neq" | "contains":
            return array(equal(value))
        case "in" | "not_in":
            assert isinstance(value, tuple)
            return array(each for item in value for each in equal(item))
        case "regex":
            return raw_string(str(value))
        case _:
            return literal(value)


_SIGNS: Final = {"lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_FUNCTIONS: Final = {
    "eq": "one_of", "in": "one_of", "neq": "none_of", "not_in": "none_of", "regex": "matches", "contains": "holds",
    "lt": "below", "lte": "at_most", "gt": "above", "gte": "at_least",
}  # fmt: skip
