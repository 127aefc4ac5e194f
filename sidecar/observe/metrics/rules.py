"""Prometheus metrics of the rules in force: how often each had a say, and what those that only report would have done.

A rule is named as in `rule_info`: by its entry of the policy, which may be a pattern or `*`, and its own name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sidecar.decision.decision import CONDITION_PROBLEMS, Violation, problem_of
from sidecar.events import Decided
from sidecar.observe.metrics.instruments import OTHER, Count, CounterMetric, Instruments
from sidecar.observe.metrics.names import OURS, Names
from sidecar.policy.rule_index import RuleIndex
from sidecar.policy.terms import RuleInfo, Terms
from sidecar.text import shown

MAX_RULES: Final = 2_000
"""Rules with series of their own; a policy that has more is its author's doing."""


class RuleMetrics:
    """The rules of the policy of `server`."""

    def __init__(self, made: Instruments, server: str, names: Names) -> None:
        self._server = server
        self._names = names
        self._index: RuleIndex | None = None
        self._had_say: dict[tuple[str, str], Count] = {}
        self._entries: Counter[str] = Counter()
        """How many rules have a name."""
        self._reporting: frozenset[str] = frozenset()
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
            "Calls in which a condition of a rule met no value at its path, or one that it cannot compare, and which "
            "the rule refused or reported for that. Counted for rules for which the policy gives no reason.",
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

    def activate(self, terms: Terms) -> None:
        """Another policy is in force."""
        before, self._series = self._series, []
        self._matches.fold()
        rules = terms.rules[:MAX_RULES]
        self._index = RuleIndex(terms)
        self._had_say = {}
        self._entries = Counter(rule.rule for rule in terms.rules)
        self._reporting = frozenset(rule.rule for rule in terms.rules if rule.reports)
        reporting: list[tuple[str, str, str, str]] = []
        for info in rules:
            labels = self._server, shown(info.tool), info.rule
            self._had_say[info.tool, info.rule] = self._exposed(self._matches, labels)
            if info.kind == "rule":
                for problem in CONDITION_PROBLEMS:
                    self._exposed(self._problems, (*labels, problem))
            if info.reports and self._names.knows(info.tool):
                reporting += [(self._names.tool(info.tool), info.rule, kind, info.reports) for kind in _kinds(info)]
        self._would_deny.open((self._server, *labels) for labels in reporting)
        kept = set(self._series)
        for metric, gone in before:
            if (metric, gone) not in kept:
                metric.remove(*gone)

    def _exposed(self, metric: CounterMetric, labels: tuple[str, ...]) -> Count:
        self._series.append((metric, labels))
        return metric.labels(*labels)

    def matches_of(self, tool: str, rule: str) -> Count:
        """How often a rule that is about calls of `tool` had a say."""
        info = self._index.find(tool, rule) if self._index is not None else None
        count = self._had_say.get((info.tool, info.rule)) if info is not None else None
        return count if count is not None else self._matches.labels(self._server, OTHER, OTHER)

    def lasting(self, tool: str, rule: str) -> Count | None:
        """The same for all calls whose tool has the label of this one, until another policy is in force.

        None where that depends on the tool's name, or where no rule decided.
        """
        entries = self._entries[rule]
        if not entries or (entries > 1 and not self._names.knows(tool)):
            return None
        return self.matches_of(tool, rule)

    def said(self, event: Decided, *, decider_counted: bool) -> None:
        """Rules refused the call, asked about it or reported it; of those that counted it `LimitMetrics` tells.

        With `decider_counted` the rule that decided is counted elsewhere.
        """
        ruling, tool, decider = event.ruling, event.call.tool, event.ruling.rule
        spoke = [decider] if decider and not decider_counted else []
        # Hand-written Rego may say one for each element of an argument: no call is to hold up others by that.
        for violation in ruling.violations[:MAX_RULES]:
            if violation.monitor:
                self._reported(self._names.tool(tool), violation)
            if violation.rule != decider:
                spoke.append(violation.rule)
            if problem := problem_of(violation):
                self._unjudged(tool, violation.rule, problem)
        if spoke:
            counted = {item.rule for item in event.reserve}
            for rule in dict.fromkeys(spoke):
                if rule not in counted and rule not in OURS:
                    self.matches_of(tool, rule).inc()

    def _unjudged(self, tool: str, rule: str, problem: str) -> None:
        info = self._index.find(tool, rule) if self._index is not None else None
        known = info is not None and (info.tool, rule) in self._had_say
        labels = (shown(info.tool), rule) if info is not None and known else (OTHER, OTHER)
        self._problems.labels(self._server, *labels, problem).inc()

    def _reported(self, tool: str, violation: Violation) -> None:
        rule = violation.rule if violation.rule in self._reporting else OTHER
        by = "shadow" if violation.shadow else "monitor"
        self._would_deny.labels(self._server, tool, rule, violation.kind, by).inc()


def _kinds(info: RuleInfo) -> Iterator[str]:
    """The kinds of refusal that a rule may report."""
    yield from info.refusals
    if info.exhausted and info.exhausted not in info.refusals:
        yield info.exhausted
    if info.asks and not info.denies:
        yield "approval_required"
