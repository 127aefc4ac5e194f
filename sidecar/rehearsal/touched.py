"""What the cases of a policy show of its rules: which of them refused a call, and which let one pass.

A rule that was never seen to refuse may refuse nothing, and one that was never seen to let pass may let nothing pass:
an edit of it changes no test. What a rule cannot do at all is not asked of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.policy.applies import Applying, applying
from sidecar.policy.model import Policy, Rule
from sidecar.policy.problem import Place
from sidecar.rehearsal.judging import Judgement
from sidecar.rehearsal.testing import CaseResult

_OF_REGO: Final = frozenset({"custom", "custom_invalid"})
"""Kinds of refusal by hand-written Rego, whose names may be those of rules too."""


@dataclass(frozen=True, slots=True)
class Unshown:
    """A rule of an entry of which no step shows something: that it refuses (or asks), or that it lets a call pass."""

    entry: str
    rule: str
    place: Place


@dataclass(frozen=True, slots=True)
class Unguarded:
    """A tool that may be called and that no rule looks at. `named` is the entry that says so, None where none does."""

    tool: str
    named: Place | None


@dataclass(frozen=True, slots=True)
class Touched:
    """What no step shows of the rules: each stands in one of the three, or in none where all is shown.

    `untouched` are those that no step shows anything of.
    """

    untouched: tuple[Unshown, ...]
    never_refused: tuple[Unshown, ...]
    never_passed: tuple[Unshown, ...]
    unguarded: tuple[Unguarded, ...]

    @property
    def complete(self) -> bool:
        """True where nothing is left to show, and whoever may be called without a rule is named in the policy."""
        unshown = self.untouched or self.never_refused or self.never_passed
        return not unshown and all(tool.named is not None for tool in self.unguarded)


def touched(policy: Policy, results: Sequence[CaseResult], tools: Sequence[str] | None) -> Touched:
    """What the results show of the rules of a policy. `tools` are those of the server, None where nobody knows them."""
    known = applying(policy)
    refused: set[Place] = set()
    passed: set[Place] = set()
    called: dict[str, None] = {}
    for step in (step for result in results for step in result.steps):
        called[step.step.tool] = None
        about = [rule for entry in known.about(step.step.tool) for rule in entry.rules]
        refusing = _refusing(about, step.judgement)
        refused |= refusing
        passed |= _passing(about, step.judgement) - refusing
    # The rules of a class stand once in the file, and may apply by many entries.
    rules = {rule.place: (entry, rule) for entry in reversed(policy.entries) for rule in entry.rules}
    left = [
        (Unshown(entry.tool, rule.name, place), rule)
        for place, (entry, rule) in sorted(rules.items(), key=lambda item: item[0])
    ]
    return Touched(
        untouched=tuple(one for one, _ in left if one.place not in refused | passed),
        never_refused=tuple(
            one for one, rule in left if _can_refuse(rule) and one.place in passed and one.place not in refused
        ),
        never_passed=tuple(
            one for one, rule in left if _can_pass(rule) and one.place in refused and one.place not in passed
        ),
        unguarded=tuple(_unguarded(policy, known, called if tools is None else tools)),
    )


def _refusing(about: Sequence[Rule], judgement: Judgement) -> set[Place]:
    """The rules that refused a call, asked a person about it, or reported that they would have.

    An answer has their names. Of rules with one name the first are meant, as wherever a line is told.
    """
    names = Counter(violation.rule for violation in judgement.violations if violation.kind not in _OF_REGO)
    if judgement.action != "allow" and judgement.kind not in _OF_REGO and judgement.rule not in names:
        names[judgement.rule] += 1
    found = set()
    for rule in about:
        if names[rule.name] > 0:
            names[rule.name] -= 1
            found.add(rule.place)
    return found


def _passing(about: Sequence[Rule], judgement: Judgement) -> set[Place]:
    """The rules that a call was seen to get past, those included that only report.

    Where a person is asked every rule that refuses let it pass, but limits were not reached yet, and of several rules
    that may ask only the first is named. Where it was refused nothing is known of the other rules.
    """
    if judgement.action == "allow":
        return {rule.place for rule in about}
    if judgement.action == "approval":
        return {rule.place for rule in about if rule.action != "require_approval" and rule.counter is None}
    return set()


def _can_refuse(rule: Rule) -> bool:
    if rule.action in ("deny", "require_approval") or rule.only is not None:
        return True
    return bool(rule.asked or rule.amount) or rule.bound is not None


def _can_pass(rule: Rule) -> bool:
    return not (rule.never_passed or rule.always_asks)


def _unguarded(policy: Policy, known: Applying, tools: Iterable[str]) -> Iterator[Unguarded]:
    for tool in tools:
        about = known.about(tool)
        naming = [entry for entry in about if entry.permits]
        callable_ = not known.hides(tool) and (bool(naming) or policy.default == "allow")
        if callable_ and not any(entry.rules for entry in about):
            yield Unguarded(tool, naming[0].place if naming else None)
