"""Checks across a policy: items that are each right by themselves and wrong together."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from sidecar.policy.hints import where
from sidecar.policy.model import ANY_TOOL, GLOBAL, NAMED_WINDOWS, CounterName, Policy, PolicyEntry
from sidecar.policy.problem import Place, Problem


def check(policy: Policy) -> list[Problem]:
    """Every problem of the policy as a whole. Regular expressions are checked by the engine (`engine.binary`)."""
    counted = policy.counters()
    return [problem for entry in policy.entries for problem in _of_entry(entry, counted)]


def _of_entry(entry: PolicyEntry, counted: Collection[CounterName]) -> Iterator[Problem]:
    yield from _names(entry)
    yield from _counters(entry)
    yield from _reads(entry, counted)


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
        if rule.counter is None:
            continue
        if rule.counter in counters:
            line = counters[rule.counter].line
            if rule.rate_limit:
                text = f"line {line} limits this tool for the same window ({rule.rate_limit.window.name}): keep one"
            else:
                text = f'the rule in line {line} counts on the counter "{rule.counter}" too: keep one, or rename one'
            yield Problem(rule.place, where(rule), text)
        counters.setdefault(rule.counter, rule.place)


def _reads(entry: PolicyEntry, counted: Collection[CounterName]) -> Iterator[Problem]:
    for rule in entry.rules:
        for at, condition in enumerate(rule.conditions, 1):
            name = condition.subject
            if not isinstance(name, CounterName) or not name.counter or name.tool in ("", ANY_TOOL):
                continue  # no counter, or no path of one: said already
            if name not in counted:
                tool = ANY_TOOL if name.tool == GLOBAL else name.tool
                text = f'"{name}" is counted by no rule: add {_counting(name.counter)} to a rule of "{tool}"'
                yield Problem(condition.path_place, f"{where(rule)}.conditions[{at}].path", text)


def _counting(counter: str) -> str:
    """What a rule needs to count on a counter of this name."""
    window = counter.removeprefix("_rate_")
    return (
        f"rate_limit: 5/{window}" if window in NAMED_WINDOWS and window != counter else f"state: {{counter: {counter}}}"
    )
