"""Which entries apply to which tools, as far as that is known without a call. Knows no Rego."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.policy.classes import in_force
from sidecar.policy.model import ANY_TOOL, Default, Policy, PolicyEntry
from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED, is_pattern, matcher
from sidecar.policy.problem import Place

MOST: Final = 16
"""The most entries that apply to a tool with a proof: it names each, so a bundle grows with tools times patterns."""


@dataclass(frozen=True, slots=True)
class Applying:
    """The entries of a policy by how they come to apply, each kind in the order of the files, and what is hidden."""

    exact: tuple[PolicyEntry, ...]
    patterns: tuple[tuple[re.Pattern[str], PolicyEntry], ...]
    any_tool: tuple[PolicyEntry, ...]
    hidden: frozenset[str]
    hidden_patterns: tuple[re.Pattern[str], ...]
    default: Default

    def to(self, entry: PolicyEntry) -> list[PolicyEntry]:
        """All entries that apply to the tool of an exact entry, itself in front, in the order that counts."""
        return [entry, *in_force(entry, self._matching(entry.tool)), *self.any_tool]

    def about(self, tool: str) -> list[PolicyEntry]:
        """All entries that apply to a tool, whether it has one of its own or not, in the order that counts."""
        own = next((entry for entry in self.exact if entry.tool == tool), None)
        return self.to(own) if own else [*in_force(None, self._matching(tool)), *self.any_tool]

    def hides(self, tool: str) -> bool:
        """True for a tool that is hidden."""
        return tool in self.hidden or any(pattern.match(tool) for pattern in self.hidden_patterns)

    def provable(self, entry: PolicyEntry) -> bool:
        """True for an exact entry with rules whose tool is not hidden, if a call can pass all that apply to it unasked.

        Also false where more than `MOST` entries apply, and where `default: deny` may apply although there are rules.
        """
        if self.default == "deny" and not entry.permits:
            return False
        if not entry.rules or entry.tool in (CANARY_ALLOWED, CANARY_DENIED) or self.hides(entry.tool):
            return False
        applying_to_it = self.to(entry)
        return len(applying_to_it) <= MOST and all(map(can_be_met, applying_to_it))

    def _matching(self, tool: str) -> list[PolicyEntry]:
        return [entry for pattern, entry in self.patterns if pattern.match(tool)]


def applying(policy: Policy) -> Applying:
    """How the entries of a policy apply."""
    return Applying(
        exact=tuple(entry for entry in policy.entries if entry.tool != ANY_TOOL and not entry.is_pattern),
        patterns=tuple((matcher(entry.tool), entry) for entry in policy.entries if entry.is_pattern),
        any_tool=tuple(entry for entry in policy.entries if entry.tool == ANY_TOOL),
        hidden=frozenset(item.name for item in policy.hide if not is_pattern(item.name)),
        hidden_patterns=tuple(matcher(item.name) for item in policy.hide if is_pattern(item.name)),
        default=policy.default,
    )


def refused_at(policy: Policy, settings: Mapping[str, Place], kind: str, tool: str) -> Place | None:
    """Where it stands that refuses a tool where no rule does: as hidden, or by default; None for another `kind`.

    `settings` are the places of the policy's settings, by their names.
    """
    if kind == "hidden":
        hiding = (item for item in policy.hide if item.name == ANY_TOOL or matcher(item.name).match(tool))
        return next((item.place for item in hiding), None)
    return settings.get("default") if kind == "default_deny" else None


def can_be_met(entry: PolicyEntry) -> bool:
    """True when a call can pass every rule of the entry without an approval."""
    return not any(rule.denies or rule.always_asks for rule in entry.rules)
