"""Checks across a policy: items that are each right by themselves and wrong together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from sidecar.policy.classes import rules_of
from sidecar.policy.hints import where
from sidecar.policy.model import (
    ANY_TOOL,
    GLOBAL,
    NAMED_WINDOWS,
    OWN_CLASS,
    ClassRules,
    Condition,
    CounterName,
    Policy,
    PolicyEntry,
    Rule,
)
from sidecar.policy.problem import Place, Problem


def check(policy: Policy) -> list[Problem]:
    """Every problem of the policy as a whole. Regular expressions are checked by the engine (`engine.binary`)."""
    counted = policy.counters()
    entries = [entry for entry in policy.entries if not entry.by_class]  # what a class brings is told once
    return [
        *(problem for entry in entries for problem in _of_entry(entry, counted)),
        *_put_in_the_shadow(policy),
        *(problem for item in policy.classes for problem in _of_class(item, counted)),
    ]


Counted: TypeAlias = Mapping[CounterName, tuple[PolicyEntry, Rule]]


def _of_entry(entry: PolicyEntry, counted: Counted) -> Iterator[Problem]:
    yield from _rules(entry)
    yield from _reads(entry, counted)


def _put_in_the_shadow(policy: Policy) -> Iterator[Problem]:
    """Entries whose rules, all in shadow, would stand in the place of those of their class."""
    ruled = {item.risk for item in policy.classes if item.rules}
    for entry in policy.entries:
        if entry.is_in_shadow and entry.risk in ruled:
            text = f"all rules here are in shadow, and with them none of class {entry.risk} would apply"
            text = f"{text}: put the rules in shadow under the class, or repeat here what is to be enforced"
            yield Problem(entry.place, f"tools.{entry.tool}", text)


def _of_class(item: ClassRules, counted: Counted) -> Iterator[Problem]:
    """The problems of the rules of a class, as those of an entry that has its name."""
    rules = PolicyEntry(item.risk, rules_of(item, item.risk), item.place)
    readable = [rule for rule in rules.rules if rule.has_readable_counter]
    own = {CounterName(OWN_CLASS, rule.counter): (rules, rule) for rule in readable if rule.counter}
    others = {name: kept for name, kept in counted.items() if name.tool != OWN_CLASS}  # a tool of that name
    for problem in (*_rules(rules), *_reads(replace(rules, rules=item.rules), {**others, **own})):
        yield replace(problem, where=f"classes.{problem.where.removeprefix('tools.')}")


def _rules(entry: PolicyEntry) -> Iterator[Problem]:
    yield from _names(entry)
    yield from _counters(entry)


def _names(entry: PolicyEntry) -> Iterator[Problem]:
    names: dict[str, Place] = {}
    for rule in entry.rules:
        if rule.name in names:
            line = names[rule.name].line
            text = f'the rule in line {line} is called "{rule.name}" too: choose another name'
            yield Problem(rule.place, where(rule), text)
        names.setdefault(rule.name, rule.place)


def _counters(entry: PolicyEntry) -> Iterator[Problem]:
    counters: dict[str, Place] = {}
    for rule in entry.rules:
        if rule.counter is None or rule.stored is None:
            continue
        # Conditions read a counter under its own name, whatever it is called in stores, where no name has a dot. One in
        # shadow is apart in stores, and no condition reads it.
        names = (rule.stored, f"state.{rule.counter}") if rule.state and not rule.shadow else (rule.stored,)
        if place := next((counters[name] for name in names if name in counters), None):
            if rule.rate_limit:
                window = rule.rate_limit.window.name
                text = f"line {place.line} limits this tool for the same window ({window}): keep one"
            else:
                counted = f'counts on the counter "{rule.counter}" too'
                text = f"the rule in line {place.line} {counted}: keep one, or rename one"
            yield Problem(rule.place, where(rule), text)
        for name in names:
            counters.setdefault(name, rule.place)


def _reads(entry: PolicyEntry, counted: Counted) -> Iterator[Problem]:
    for rule in entry.rules:
        for at, condition in enumerate(rule.conditions, 1):
            name = condition.subject
            if not isinstance(name, CounterName) or not name.counter or name.tool in ("", ANY_TOOL):
                continue  # no counter, or no path of one: said already
            if text := _misread(rule, condition, name, counted):
                yield Problem(condition.path_place, f"{where(rule)}.conditions[{at}].path", text)


def _misread(rule: Rule, condition: Condition, name: CounterName, counted: Counted) -> str:
    """What is wrong with reading a counter; empty where nothing is."""
    if rule.shadow:
        # The rules of a class are looked at as they are written: their own counter has another name there.
        limits = (replace(rule, entry=OWN_CLASS) if name.tool == OWN_CLASS else rule).own_limits
        own = "" if condition in limits else f'"{name}" cannot be read in shadow, where every counter is apart'
        return own and f"{own}: a rule in shadow may only limit its own, with lt or lte"
    if name in counted:
        entry, _ = counted[name]
        if entry.counts_each_tool:
            text = f'"{name}" is another counter for each tool that has the class {entry.risk} by this pattern'
            return f"{text}: read it in the rules of the class, as state.{OWN_CLASS}.{name.counter}"
        return ""
    counting = _counting(name.counter)
    if name.tool == OWN_CLASS:
        text = f"add {counting} there, or write state.<tool>.{name.counter}"
        return f'"{name}" is a counter of a rule of the same class, and no such rule counts on it: {text}'
    tool = ANY_TOOL if name.tool == GLOBAL else name.tool
    return f'"{name}" is counted by no rule that is in force: add {counting} to a rule of "{tool}"'


def _counting(counter: str) -> str:
    """What a rule needs to count on a counter of this name."""
    window = counter.removeprefix("_rate_")
    return (
        f"rate_limit: 5/{window}" if window in NAMED_WINDOWS and window != counter else f"state: {{counter: {counter}}}"
    )
