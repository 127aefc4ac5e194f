"""Risk classes: the rules that a class gives to an entry, and which entry gives a tool its class. Knows no Rego."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sidecar.policy.model import OWN_CLASS, Class, ClassRules, Condition, CounterName, PolicyEntry, Rule


def with_rules_of_classes(entries: Sequence[PolicyEntry], classes: Sequence[ClassRules]) -> tuple[PolicyEntry, ...]:
    """The entries, each that is `by_class` with the rules of its class, where that has any."""
    known: Mapping[Class | None, ClassRules] = {item.risk: item for item in reversed(classes)}
    return tuple(
        replace(entry, rules=rules_of(known[entry.risk], entry.tool))
        if entry.by_class and entry.risk in known
        else entry
        for entry in entries
    )


def rules_of(risk: ClassRules, entry: str) -> tuple[Rule, ...]:
    """The rules of a class as the rules of an entry: named after it, and with counters of its own."""
    return tuple(
        replace(rule, entry=entry, conditions=tuple(_of(entry, condition) for condition in rule.conditions))
        for rule in risk.rules
    )


def _of(entry: str, condition: Condition) -> Condition:
    name = condition.subject
    if isinstance(name, CounterName) and name.tool == OWN_CLASS:
        return replace(condition, subject=CounterName(entry, name.counter))
    return condition


def in_force(exact: PolicyEntry | None, matching: Sequence[PolicyEntry]) -> list[PolicyEntry]:
    """Of the patterns that match a tool, in the order of the files, those whose rules apply to it.

    `exact` is the entry of the tool's own name, where there is one. The rules of a class apply by the entry alone that
    gives the tool its class: `exact`, else the first pattern that has one.
    """
    giving = exact if exact and exact.risk else next((entry for entry in matching if entry.risk), None)
    return [entry for entry in matching if not entry.by_class or entry is giving]
