"""What `sidecar status` found: values, and how they are put together over several sidecars. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from sidecar.system.instances import Instance

MOST: Final = 10
"""Denials of each kind that are shown."""
HELD: Final = "approval_required"
"""The kind of a call that is held back until a person has answered."""

Rule: TypeAlias = tuple[str, str]
"""A tool and the name of a rule, empty where no rule decided."""

Denied: TypeAlias = tuple[str, str, str]
"""The same, and where no rule decided the kind of refusal."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What is left of a limit of `most`, until it is whole again at `resets`, in seconds since 1970.

    `scope` and `window` are as the metrics name them; what a sidecar does not say is None or empty.
    """

    server: str
    tool: str
    rule: str
    scope: str
    window: str
    left: float
    most: float | None = None
    resets: float | None = None


@dataclass(frozen=True, slots=True)
class Denial:
    """One call that was denied, or held back, as the audit log has it. `line` is the rule's place as `file:line`."""

    time: str
    server: str
    tool: str
    rule: str
    line: str
    reason: str
    decision_id: str
    kind: str = ""


@dataclass(slots=True)
class Counted:
    """Decisions of a sidecar: how many calls were allowed and denied, and which rule at which place denied how many.

    `held` of those denied were held back for an approval. `source` says who counted: `telemetry`, `audit`, or nobody
    where it is empty. Not `whole` where only the end of a long audit log was read.
    """

    source: str = ""
    allow: int = 0
    deny: int = 0
    held: int = 0
    denials: Counter[Denied] = field(default_factory=Counter)
    places: dict[Rule, str] = field(default_factory=dict)
    whole: bool = True

    def add_denials(self, rule: Rule, kind: str, count: int = 1) -> None:
        """Count denials of one kind by a rule, or by none."""
        self.deny += count
        self.held += count if kind == HELD else 0
        self.denials[*rule, "" if rule[1] else kind] += count

    def place(self, rule: Rule) -> str:
        """Where a rule stands; a rule may be one of every tool."""
        return self.places.get(rule) or self.places.get(("*", rule[1]), "")


@dataclass(slots=True)
class Looked:
    """One running sidecar. `ready` is None where it cannot be asked, and `words` are what it says of itself.

    `components` says of its engine, store and server, and what else it needs, whether they are well.
    """

    instance: Instance
    counted: Counted
    limits: list[Limit] = field(default_factory=list)
    ready: bool | None = None
    words: list[str] = field(default_factory=list)
    components: dict[str, bool] = field(default_factory=dict)
    sessions: int | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Approvals in the store that wait for a person, and those of which nobody knows whether they ran.

    `trouble` says why they cannot be counted.
    """

    pending: int | None = 0
    unknown: int | None = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Status:
    """Everything. `past` are decisions of sidecars that ended in the last day; it counts where none runs."""

    folder: str
    running: list[Looked]
    past: Counted
    recent: list[Denial]
    waiting: Waiting

    @property
    def counts(self) -> list[tuple[str, Counted]]:
        """The decisions that count, each with the name of the server."""
        if not self.running:
            return [("", self.past)]
        return [(one.instance.server, one.counted) for one in self.running]

    @property
    def top(self) -> list[tuple[str, Denied, str, int]]:
        """Server, rule and kind, place and number of the most frequent denials, the most frequent first."""
        numbers: Counter[tuple[str, Denied]] = Counter()
        places: dict[tuple[str, Denied], str] = {}
        for server, counted in self.counts:
            for denied, count in counted.denials.items():
                numbers[server, denied] += count
                places[server, denied] = counted.place(denied[:2])
        ordered = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))
        return [(server, denied, places[server, denied], count) for (server, denied), count in ordered[:MOST]]

    @property
    def limits(self) -> list[Limit]:
        """The limits, those with the smallest part left first. Sidecars that share a store see the same ones."""
        return least(limit for one in self.running for limit in one.limits)

    def document(self) -> dict[str, Any]:
        """All of it as JSON."""
        counts = [counted for _, counted in self.counts]
        return {
            "instances": [_instance(one) for one in self.running],
            "decisions": {"allow": sum(one.allow for one in counts), "deny": sum(one.deny for one in counts)},
            "held": sum(one.held for one in counts),
            "top_denials": [
                {"server": server, "tool": tool, "rule": rule, "kind": kind, "line": line, "count": count}
                for server, (tool, rule, kind), line, count in self.top
            ],
            "recent_denials": [
                {
                    "time": one.time, "server": one.server, "tool": one.tool, "rule": one.rule, "kind": one.kind,
                    "line": one.line, "reason": one.reason, "decision_id": one.decision_id,
                }
                for one in self.recent
            ],
            "limits": [
                {
                    "server": one.server, "tool": one.tool, "rule": one.rule, "scope": one.scope, "window": one.window,
                    "left": one.left, "max": one.most, "resets": one.resets,
                }
                for one in self.limits
            ],
            "approvals": _approvals(self.waiting),
        }  # fmt: skip


def least(limits: Iterable[Limit]) -> list[Limit]:
    """Of each counter the least that anybody says is left, and those of which the smallest part is left first."""
    found: dict[tuple[str, ...], Limit] = {}
    for one in limits:
        key = (one.server, one.tool, one.rule, one.scope, one.window)
        if key not in found or one.left < found[key].left:
            found[key] = one
    return sorted(found.values(), key=lambda one: (one.left / one.most if one.most else 1.0, one.tool, one.rule))


def _instance(one: Looked) -> dict[str, Any]:
    counted = one.counted
    decisions = {"allow": counted.allow, "deny": counted.deny} if counted.source else None
    return {
        **one.instance._asdict(), "ready": one.ready, "says": one.words, "components": one.components,
        "sessions": one.sessions,
        "decisions": decisions, "held": counted.held if counted.source else None, "counted_by": counted.source or None,
    }  # fmt: skip


def _approvals(waiting: Waiting) -> Mapping[str, Any]:
    found: dict[str, Any] = {"pending": waiting.pending, "unknown": waiting.unknown}
    return {**found, "trouble": waiting.trouble} if waiting.trouble else found
