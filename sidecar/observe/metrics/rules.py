"""Prometheus metrics of the rules in force: how often each had a say, and what those that only report would have done.

A rule is named as in `rule_info`: by its entry of the policy, which may be a pattern or `*`, and its own name.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sidecar.decision.decision import Violation
from sidecar.events import CONDITION_PROBLEMS, ConditionUnmet, Decided, Handlers
from sidecar.observe.metrics.instruments import OTHER, Count, CounterMetric, Instruments
from sidecar.observe.metrics.names import OURS, Names
from sidecar.policy.model import ANY_TOOL
from sidecar.policy.names import is_pattern, matcher
from sidecar.policy.terms import RuleInfo, Terms
from sidecar.text import shown

MAX_RULES: Final = 2_000
"""Rules with series of their own; a policy that has more is its author's doing."""


class _Rule(NamedTuple):
    """A rule in force: `about` says of which tools, None of all."""

    info: RuleInfo
    about: re.Pattern[str] | None
    matches: Count


class RuleMetrics:
    """The rules of the policy of `server`."""

    def __init__(self, made: Instruments, server: str, names: Names) -> None:
        self._server = server
        self._names = names
        self._by_name: dict[str, list[_Rule]] = {}
        self._series: list[tuple[CounterMetric, tuple[str, ...]]] = []
        """What is exposed for the rules in force, and not for others."""
        self._matches = made.counter(
            "rule_matches_total",
            "Calls in which a rule of the policy in force had a say: it refused, asked a person, counted or reported. "
            "Counted when the call is decided, from 0 for each rule; tool is the entry of the policy.",
            "tool",
            "rule",
        )
        self._problems = made.counter(
            "condition_problems_total",
            "Refused calls in which a condition of a rule met no value at its path, or a value of a type that it "
            "cannot compare. Looked into after the denial, one call at a time; calls beyond that are not looked into.",
            "tool",
            "rule",
            "problem",
        )
        self._would_deny = made.counter(
            "would_deny_total",
            "What rules that only report would have refused, or would have asked a person about. Counted when the "
            "call is decided.",
            "tool",
            "rule",
            "kind",
            "by",
        )
        self.handlers: Handlers = {ConditionUnmet: self._condition_unmet}

    def activate(self, terms: Terms) -> None:
        """Another policy is in force."""
        before, self._series, self._by_name = self._series, [], {}
        self._matches.fold()
        for info in terms.rules[:MAX_RULES]:
            labels = self._server, shown(info.tool), info.rule
            about = None if info.tool == ANY_TOOL else matcher(info.tool) if is_pattern(info.tool) else _only(info.tool)
            rule = _Rule(info, about, self._exposed(self._matches, labels))
            self._by_name.setdefault(info.rule, []).append(rule)
            if info.kind == "rule":
                for problem in CONDITION_PROBLEMS:
                    self._exposed(self._problems, (*labels, problem))
            if info.reports and self._names.knows(info.tool):
                for kind in (info.kind, "approval_required") if info.asks else (info.kind,):
                    self._would_deny.labels(self._server, self._names.tool(info.tool), info.rule, kind, info.reports)
        kept = set(self._series)
        for metric, gone in before:
            if (metric, gone) not in kept:
                metric.remove(*gone)

    def _exposed(self, metric: CounterMetric, labels: tuple[str, ...]) -> Count:
        self._series.append((metric, labels))
        return metric.labels(*labels)

    def matches_of(self, tool: str, rule: str) -> Count:
        """How often a rule that is about calls of `tool` had a say."""
        known = self._rule(tool, rule)
        return known.matches if known is not None else self._matches.labels(self._server, OTHER, OTHER)

    def lasting(self, tool: str, rule: str) -> Count | None:
        """The same for all calls whose tool has the label of this one, until another policy is in force.

        None where that depends on the tool's name, or where no rule decided.
        """
        if rule not in self._by_name or (len(self._by_name[rule]) > 1 and not self._names.knows(tool)):
            return None
        return self.matches_of(tool, rule)

    def _rule(self, tool: str, rule: str) -> _Rule | None:
        """The rule of this name that is about a tool; where two are, that of the nearest entry."""
        of_name = self._by_name.get(rule, ())
        if len(of_name) == 1:
            return of_name[0]
        return next((known for known in of_name if known.about is None or known.about.match(tool)), None)

    def said(self, event: Decided, *, decider_counted: bool) -> None:
        """Rules refused the call, asked about it or reported it; of those that counted it `LimitMetrics` tells.

        With `decider_counted` the rule that decided is counted elsewhere.
        """
        ruling, tool, decider = event.ruling, event.call.tool, event.ruling.rule
        spoke = [decider] if decider and not decider_counted else []
        for violation in ruling.violations:
            if violation.monitor:
                self._reported(self._names.tool(tool), violation)
            if violation.rule != decider:
                spoke.append(violation.rule)
        if spoke:
            counted = {item.rule for item in event.reserve}
            for rule in dict.fromkeys(spoke):
                if rule not in counted and rule not in OURS:
                    self.matches_of(tool, rule).inc()

    def _reported(self, tool: str, violation: Violation) -> None:
        known = any(rule.info.reports for rule in self._by_name.get(violation.rule, ()))
        rule, by = violation.rule if known else OTHER, "shadow" if violation.shadow else "monitor"
        self._would_deny.labels(self._server, tool, rule, violation.kind, by).inc()

    def _condition_unmet(self, event: ConditionUnmet) -> None:
        known = self._rule(event.tool, event.rule)
        tool, rule = (shown(known.info.tool), known.info.rule) if known is not None else (OTHER, OTHER)
        problem = event.problem if event.problem in CONDITION_PROBLEMS else OTHER
        self._problems.labels(self._server, tool, rule, problem).inc()


def _only(tool: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(tool)}\Z")
