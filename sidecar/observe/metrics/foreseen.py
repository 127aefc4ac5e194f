"""What a policy can decide, known before any call: the decisions whose counts are shown from 0.

Some call can get whatever is foreseen here. Not everything is: not what depends on more than the policy (a call that
its client cancels), nor what only hand-written Rego knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.mcp.protocol import OF_CLIENTS, TOOLS_CALL
from sidecar.observe.metrics.instruments import OTHER
from sidecar.observe.metrics.names import method
from sidecar.policy.model import ANY_TOOL, Mode
from sidecar.policy.names import RESERVED
from sidecar.policy.nothing import NO_SERIAL
from sidecar.policy.terms import PatternReads, Reads, RuleInfo, Terms

MAX_MATCHES: Final = 50_000
"""Tools that are foreseen, times patterns: each tool is held against each pattern, and calls wait meanwhile."""
MAX_PATTERNS: Final = 100
"""Entries for many tools that are looked at for the tools that the policy does not name."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the operator chose, and calls are judged by.

    `mode` wins over the policy's where it is given; answers of the engine are used again where we `remember`; a store
    that cannot be used lets calls pass where it may `fail_open`.
    """

    mode: Mode | None = None
    remember: bool = True
    fail_open: bool = False


class Foreseen(NamedTuple):
    """A decision that a call may get. `remembered` where it may be by an answer that the engine gave before."""

    decision: str
    kind: str
    rule: str = ""
    remembered: bool = False


class _Rules(NamedTuple):
    """Some rules, in the order that counts. `deciding` are those that may decide a call; the rest is true of any."""

    deciding: tuple[RuleInfo, ...] = ()
    denies: bool = False
    never_passed: bool = False
    asks: bool = False
    always_asks: bool = False
    counts: bool = False


class Foresight:
    """What calls can get under the policy with these `terms` and this `serial`, by what the operator `chose`."""

    def __init__(self, terms: Terms, serial: int, chose: Chosen) -> None:
        self.mode = terms.mode(chose.mode)
        self._terms = terms
        self._nothing = serial == NO_SERIAL
        self._chose = chose
        rules: dict[str, list[RuleInfo]] = {}
        for rule in terms.rules:
            rules.setdefault(rule.tool, []).append(rule)
        self._entries = {entry: _summed(of_entry) for entry, of_entry in rules.items()}
        self._of_all = self._entries.get(ANY_TOOL, _NONE)

    @property
    def most_tools(self) -> int:
        """So many tools are to be foreseen at most."""
        return MAX_MATCHES // (1 + len(self._terms.patterns) + len(self._terms.hidden_patterns))

    @property
    def remembers(self) -> bool:
        """True where some call may get an answer that the engine gave before."""
        return self._remembers([self._terms.reads_any])

    def of(self, tool: str) -> Iterator[Foreseen]:
        """What a call of a tool that the policy names may get. What a first call may get comes first."""
        if tool.startswith(RESERVED):
            return  # no call of it is judged
        terms = self._terms
        matching = list(terms.patterns_of(tool))
        # Not their sum: to put long lists of paths together takes seconds, and calls wait meanwhile.
        reads = [terms.reads.get(tool, terms.reads_any), *(item.reads for item in matching)]
        groups = (self._entries.get(tool, _NONE), *map(self._rules_of, matching), self._of_all)
        refused = _HIDDEN if terms.hides(tool) else None if terms.permits_tool(tool) else _CLOSED
        yield from self._of_call(refused, groups, reads)
        if self._remembers(reads):
            yield from _remembered(self._of_call(refused, groups, reads))

    def of_others(self) -> Iterator[Foreseen]:
        """What a call of a tool that the policy does not name may get; some of it comes more than once."""
        for _, found in self._of_others():
            yield from found
        for reads, found in self._of_others():
            if self._remembers(reads):
                yield from _remembered(found)

    def forwards(self, foreseen: Iterable[Foreseen]) -> bool:
        """True where a call that may get what is foreseen may reach the server."""
        return any(self.mode == "monitor" or one.decision == "allow" for one in foreseen)

    def requests(self) -> set[str]:
        """The labels of the methods that a client may use."""
        terms, monitors = self._terms, self.mode == "monitor"
        usual = {name for name in OF_CLIENTS | terms.methods.allow if monitors or terms.permits(name)}
        anything = {OTHER} if terms.methods.unknown == "allow" or monitors else set()
        return {TOOLS_CALL} | {method(name) for name in usual} | anything

    def denied_methods(self) -> set[str]:
        """The labels of the methods that the policy denies."""
        methods = self._terms.methods
        return {method(name) for name in methods.deny} | ({OTHER} if methods.unknown == "deny" else set())

    def _remembers(self, reads: Iterable[Reads]) -> bool:
        """True where an answer to a call of which rules read all of this may be used again."""
        if self._nothing or not self._chose.remember:
            return False
        return all(one.lasting and not one.counters for one in reads)

    def _rules_of(self, item: PatternReads) -> _Rules:
        return self._entries.get(item.name, _NONE)

    def _of_others(self) -> Iterator[tuple[Sequence[Reads], Iterator[Foreseen]]]:
        """What calls of tools that the policy does not name may get, and what rules read of them: a part each."""
        terms, of_all = self._terms, self._of_all
        any_reads, patterns = [terms.reads_any], terms.patterns[:MAX_PATTERNS]
        if terms.hidden_patterns:
            yield any_reads, self._of_call(_HIDDEN, (), any_reads)
        if terms.hides(""):
            return  # so every tool is hidden
        is_open = terms.default == "allow"
        yield any_reads, self._of_call(None if is_open else _CLOSED, (of_all,), any_reads)
        if not (is_open or any(item.permits for item in patterns)):
            return
        for item in patterns:
            reads = [*any_reads, item.reads]
            found = self._of_call(None, (self._rules_of(item), of_all), reads)
            # One that does not permit its tools may match what another permits.
            yield reads, found if is_open or item.permits else (one for one in found if one.decision == "deny")

    def _of_call(
        self, refused: Foreseen | None, groups: Sequence[_Rules], reads: Iterable[Reads]
    ) -> Iterator[Foreseen]:  # fmt: skip
        """What a call may get that is `refused` whatever it holds, or else has to meet the rules of `groups`."""
        looks_up = any(one.counters for one in reads)
        if self._nothing:
            yield _NO_ENGINE
        elif refused is None:
            yield from self._by_rules(groups, looks_up=looks_up)
        else:
            yield from (refused, _NO_ENGINE, *([_NO_STORE] if looks_up and not self._chose.fail_open else []))

    def _by_rules(self, groups: Sequence[_Rules], *, looks_up: bool) -> Iterator[Foreseen]:
        """What a call may get that has to meet these rules; where it `looks_up`, one of them reads a counter."""
        asks = any(group.asks for group in groups)
        always_asks = any(group.always_asks for group in groups)
        # Where all is only monitored nobody is asked, and what would be is a refusal on record.
        held = asks and self.mode == "enforce"
        claims = not any(group.denies for group in groups) and (held or not always_asks)
        if claims and not any(group.never_passed for group in groups):
            yield _PASSES
        yield _NO_ENGINE
        uses_store = claims and (held or looks_up or any(group.counts for group in groups))
        if not self._chose.fail_open:
            yield from [_NO_STORE] if uses_store or looks_up else []
        elif uses_store:
            yield from [] if always_asks else [_UNCOUNTED]
            yield from [_NO_STORE] if held or looks_up else []
        yield from _refusals(groups, claims=claims, asks=asks and not any(group.denies for group in groups), held=held)


def _refusals(groups: Sequence[_Rules], *, claims: bool, asks: bool, held: bool) -> Iterator[Foreseen]:
    """What rules refuse: limits where a call `claims` from them, and what is asked where somebody is to be asked."""
    for group in groups:
        for rule in group.deciding:
            for kind in rule.refusals:
                yield Foreseen("deny", kind, rule.rule)
            if rule.exhausted and claims:
                yield Foreseen("deny", rule.exhausted, rule.rule)
            if rule.asks and asks:
                for kind in _OF_PEOPLE if held else _OF_PEOPLE[:1]:
                    yield Foreseen("deny", kind, rule.rule)
                asks = not rule.always_asks  # of several that ask the first counts
        if group.denies:
            return
    if held and claims:
        yield Foreseen("deny", "approvals_full")


def _remembered(foreseen: Iterable[Foreseen]) -> Iterator[Foreseen]:
    """The same by an answer that the engine gave before: all but that there was none."""
    return (one._replace(remembered=True) for one in foreseen if one is not _NO_ENGINE)


def _summed(rules: Sequence[RuleInfo]) -> _Rules:
    """The rules of one entry; those that only report decide nothing."""
    active = [rule for rule in rules if not rule.reports]
    last = next((at for at, rule in enumerate(active, 1) if rule.denies), len(active))
    return _Rules(
        deciding=tuple(active[:last]),  # who stands behind one that denies every call never comes first
        denies=any(rule.denies for rule in active),
        never_passed=any(rule.never_passed for rule in active),
        asks=any(rule.asks for rule in active),
        always_asks=any(rule.always_asks for rule in active),
        counts=any(rule.counts and rule.reports != "shadow" for rule in rules),
    )


_NONE: Final = _Rules()
_PASSES: Final = Foreseen("allow", "allow")
_UNCOUNTED: Final = Foreseen("allow", "store_unavailable")
_NO_ENGINE: Final = Foreseen("deny", "engine_unavailable")
_NO_STORE: Final = Foreseen("deny", "store_unavailable")
_HIDDEN: Final = Foreseen("deny", "hidden", "(hidden)")
_CLOSED: Final = Foreseen("deny", "default_deny", "(default deny)")
_OF_PEOPLE: Final = ("approval_required", "approval_denied", "approval_in_use", "outcome_unknown")
"""The kinds of refusal by a rule that asks a person; the first is that somebody is asked."""
