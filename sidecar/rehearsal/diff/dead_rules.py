"""Rules that can no longer match: their tool is gone, an earlier one refuses every call, they contradict themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sidecar.policy.model import ANY_TOOL, Condition, PolicyEntry, Rule
from sidecar.policy.names import matcher
from sidecar.policy.paths import EACH
from sidecar.rehearsal.diff.sides import Side, line_of


@dataclass(frozen=True, slots=True)
class DeadRule:
    """One rule that the new policy still has and that says nothing any more; `why` in words, `line` as `file:line`."""

    rule: str
    line: str
    why: str


def dead_rules(
    old: Side, new: Side, old_tools: Sequence[str] | None, new_tools: Sequence[str] | None
) -> tuple[DeadRule, ...]:
    """The rules of the new policy that are dead, and were not in the old one."""
    before = {(rule.id, why) for rule, why in _dead(old, old_tools)}
    return tuple(
        DeadRule(rule.name, line_of(rule.place), why)
        for rule, why in _dead(new, new_tools)
        if (rule.id, why) not in before
    )


def _dead(side: Side, names: Sequence[str] | None) -> Iterator[tuple[Rule, str]]:
    for entry in side.policy.entries:
        why = _entry(side, entry, names)
        closed: Rule | None = None
        for rule in entry.rules:
            if why or closed is not None:
                line = f"line {closed.place.line} refuses every call before it" if closed is not None else ""
                yield rule, why or line
            elif (contradiction := _contradiction(rule)) is not None:
                yield rule, contradiction
            if rule.action == "deny" and not rule.conditions and not rule.monitor:
                closed = closed or rule


def _entry(side: Side, entry: PolicyEntry, names: Sequence[str] | None) -> str:
    """Why no rule of an entry says anything; empty where they may."""
    if entry.tool != ANY_TOOL and side.applying.hides(entry.tool) and not entry.is_pattern:
        return "the tool is hidden, so every call is refused before"
    if names is None or entry.tool == ANY_TOOL:
        return ""
    if entry.is_pattern:
        there = any(matcher(entry.tool).match(name) for name in names)
        return "" if there else "no tool in tools.json matches it"
    return "" if entry.tool in names else "its tool is not in tools.json"


def _contradiction(rule: Rule) -> str | None:
    """Which two conditions of a rule no value meets together, as far as that shows in them; None where none do."""
    plain = [one for one in rule.asked if isinstance(one.subject, tuple) and EACH not in one.subject and not one.times]
    for at, one in enumerate(plain):
        for other in plain[:at]:
            if one.subject == other.subject and not (one.optional and other.optional) and _exclude(other, one):
                lines = f"lines {other.place.line} and {one.place.line}"
                effect = "so it refuses every call" if rule.action == "evaluate" else "so it is about no number or text"
                return f"its conditions contradict each other ({lines}), {effect}"
    return None


def _exclude(one: Condition, other: Condition) -> bool:
    """True where no value that both can judge meets both."""
    low, high = _bounds(one), _bounds(other)
    if low is not None and high is not None:
        least, most = max(low[0], high[0]), min(low[1], high[1])
        return least > most or (least[0] == most[0] and (least[1] != 0 or most[1] != 0))
    values, others = _values(one), _values(other)
    if values is not None and others is not None:
        return not values & others
    for listed, bounds in ((values, high), (others, low)):
        if listed is not None and bounds is not None:
            numbers = [Decimal(text[1:]) for text in listed if text.startswith("n")]
            return not any(bounds[0] <= (number, 0) <= bounds[1] for number in numbers) and len(numbers) == len(listed)
    return False


def _bounds(condition: Condition) -> tuple[tuple[Decimal, int], tuple[Decimal, int]] | None:
    """The numbers that meet a condition, from and to; the second part says that the bound itself does not."""
    value = condition.value
    if not isinstance(value, Decimal):
        return None
    lowest, highest = (Decimal("-Infinity"), 0), (Decimal("Infinity"), 0)
    match condition.op:
        case "lt":
            return lowest, (value, -1)
        case "lte":
            return lowest, (value, 0)
        case "gt":
            return (value, 1), highest
        case "gte":
            return (value, 0), highest
    return None


def _values(condition: Condition) -> set[str] | None:
    """The values that meet a condition, those that are equal with one spelling; None where they are no list of such."""
    every = condition.value if condition.op == "in" else (condition.value,) if condition.op == "eq" else None
    if not isinstance(every, tuple) or not all(isinstance(one, str | Decimal) for one in every):
        return None
    return {spelling for one in every for spelling in _spelled(one)}


def _spelled(value: object) -> Iterator[str]:
    if isinstance(value, Decimal):
        yield f"n{value.normalize():f}"
        return
    text = str(value)
    try:
        number = Decimal(text)
    except ArithmeticError:
        yield f"t{text}"
        return
    yield f"n{number.normalize():f}" if number.is_finite() else f"t{text}"
