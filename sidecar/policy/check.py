"""What can be wrong between the items of a policy that are each right by themselves."""

from __future__ import annotations

from collections.abc import Iterator

from sidecar.policy.model import Entry, Policy
from sidecar.policy.problem import Place, Problem


def check(policy: Policy) -> list[Problem]:
    """Every problem of the policy as a whole; a regular expression is the engine's to judge (`engine.opa`)."""
    return [problem for entry in policy.entries for problem in _entry(entry)]


def _entry(entry: Entry) -> Iterator[Problem]:
    names: dict[str, Place] = {}
    counters: dict[str, Place] = {}
    denied: Place | None = None
    for rule in entry.rules:
        where = f"tools.{entry.tool}.rules[{rule.position}]"
        if rule.name in names:
            line = names[rule.name].line
            yield Problem(
                rule.place, where, f'the rule in line {line} is called "{rule.name}" too: choose another name'
            )
        names.setdefault(rule.name, rule.place)
        if rule.rate_limit:
            counter = rule.rate_limit.counter
            if counter in counters:
                line = counters[counter].line
                window = rule.rate_limit.window
                yield Problem(
                    rule.place, where, f"line {line} limits this tool for the same window ({window}): keep one"
                )
            counters.setdefault(counter, rule.place)
        if denied:
            text = f"can never be reached: line {denied.line} denies every call before it"
            yield Problem(rule.place, where, text, warning=True)
        elif rule.action == "deny":
            denied = rule.place
