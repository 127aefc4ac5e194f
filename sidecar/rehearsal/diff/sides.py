"""The two policies that are compared, each with what is known of it without a call; and the tools to call."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeAlias

from sidecar.policy.applies import Applying, applying, refused_at
from sidecar.policy.bundle import Bundle
from sidecar.policy.content import content
from sidecar.policy.facts import file_name
from sidecar.policy.model import ANY_TOOL, CounterName, Policy, PolicyEntry, Rule
from sidecar.policy.names import is_pattern, matcher
from sidecar.policy.problem import Place
from sidecar.policy.terms import CounterRead

UNNAMED: Final = ("some_tool", "other_tool", "any_other_tool")
"""Names for a tool that no rule names."""
MOST_SAMPLES: Final = 400
"""Names that are made from patterns, before those that the same entries are about are left out."""

Ruled: TypeAlias = tuple[PolicyEntry, Rule]


@dataclass(frozen=True)
class Side:
    """One of the policies."""

    policy: Policy
    bundle: Bundle
    settings: Mapping[str, Place] = field(default_factory=dict)
    """Where settings that are no rules stand, by their names."""

    @cached_property
    def applying(self) -> Applying:
        return applying(self.policy)

    @cached_property
    def counted(self) -> dict[CounterName, Ruled]:
        """The rules that keep the counters which conditions may read."""
        return self.policy.counters()

    def place_of(self, kind: str, tool: str) -> Place | None:
        """Where it stands that refuses a tool, where no rule does: as hidden, or by default."""
        return refused_at(self.policy, self.settings, kind, tool)

    @property
    def longest_window(self) -> int:
        """Seconds for which a call counts at most."""
        rules = (rule for entry in self.policy.entries for rule in entry.rules)
        return max((rule.window.seconds for rule in rules if rule.counter is not None), default=0)

    def rules(self, tool: str) -> list[Ruled]:
        """The rules about a tool, in the order that counts."""
        return [(entry, rule) for entry in self.applying.about(tool) for rule in entry.rules]

    def is_permitted(self, tool: str) -> bool:
        """False for a tool that is hidden, or that `default: deny` refuses."""
        if self.applying.hides(tool):
            return False
        named = (entry for entry in self.policy.entries if entry.tool != ANY_TOOL and entry.permits)
        return self.policy.default == "allow" or any(
            matcher(entry.tool).match(tool) if entry.is_pattern else entry.tool == tool for entry in named
        )

    def said_of(self, tool: str) -> tuple[object, ...]:
        """All by which calls of a tool are judged, hand-written Rego apart.

        Two policies that say the same of a tool judge its calls alike: a decision is made from the rules that apply, in
        their order, from what counts on the counters that they read, and from whether the tool is permitted.
        """
        rules = self.rules(tool)
        read = {condition.subject for _, rule in rules for condition in rule.asked}
        counters = sorted((name for name in read if isinstance(name, CounterName)), key=str)
        return (
            self.is_permitted(tool), self.applying.hides(tool), self.policy.mode, self.policy.approvals,
            tuple(map(said, rules)), tuple((str(name), said(self.counted[name])) for name in counters),
        )  # fmt: skip


def said(ruled: Ruled) -> tuple[object, ...]:
    """What a rule says, and what it counts on: another value for a rule that may do anything else."""
    entry, rule = ruled
    counted = (entry.counters, entry.counts_each_tool, rule.stored) if rule.counter else ()
    return entry.tool, rule.name, rule.monitor, content(rule), counted


def counter(entry: PolicyEntry, rule: Rule) -> CounterRead:
    """The counter that a rule counts on."""
    window, name = rule.window, f"{entry.counters}.{rule.stored}"
    return CounterRead(rule.name, name, window.seconds, rule.scope, entry.counts_each_tool, window.sliding)


def line_of(place: Place) -> str:
    """A place in a policy as it is told: `file:line`, the file without its folder."""
    return f"{file_name(place.file)}:{place.line}"


def tools(old: Side, new: Side, named: Iterable[str]) -> list[str]:
    """The tools to call: those that are named anywhere, and for patterns one for each set of entries that apply."""
    every = [entry.tool for side in (old, new) for entry in side.policy.entries]
    every += [item.name for side in (old, new) for item in side.policy.hide]
    exact = [name for name in every if not is_pattern(name)]
    found = dict.fromkeys([*exact, *named])
    known = {_apply(old, new, tool) for tool in found}
    for name in (*_samples([name for name in dict.fromkeys(every) if is_pattern(name) and name != ANY_TOOL]), *UNNAMED):
        applied = _apply(old, new, name)
        if name not in found and applied not in known:
            known.add(applied)
            found[name] = None
    return list(found)


def _apply(old: Side, new: Side, tool: str) -> tuple[object, ...]:
    """Which entries apply to a tool, its own apart, and whether it is hidden or refused by default."""
    return tuple(
        (
            side.applying.hides(tool), side.is_permitted(tool),
            tuple(entry.tool for entry in side.applying.about(tool)),
        )
        for side in (old, new)
    )  # fmt: skip


def _samples(patterns: Sequence[str]) -> Iterator[str]:
    """Names that patterns match: one alone, or two together where that can be seen from their text."""
    made = 0
    for pattern in patterns:
        for filling in ("", "x", "any"):
            yield _filled(pattern, filling)
    for pattern in patterns:
        for other in patterns:
            if pattern is not other and "*" in pattern:
                yield _filled(pattern, _filled(other, "x"))
                yield _filled(pattern, _filled(other, ""))
                made += 1
                if made > MOST_SAMPLES:
                    return


def _filled(pattern: str, filling: str) -> str:
    return re.sub(r"[*?]", lambda found: filling if found[0] == "*" else "x", pattern)
