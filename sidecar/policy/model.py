"""The policy as values: what the YAML says, checked and normalised, before it becomes Rego. No YAML, no Rego."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from sidecar.policy.problem import Place
from sidecar.text import quoted

ANY_TOOL: Final = "*"
"""The entry that applies to every tool."""

OPERATORS: Final = ("eq", "neq", "in", "not_in", "lt", "lte", "gt", "gte", "regex", "contains", "exists")
Default: TypeAlias = Literal["allow", "deny"]
DEFAULTS: Final[tuple[Default, ...]] = ("allow", "deny")
Action: TypeAlias = Literal["evaluate", "allow", "deny"]
ACTIONS: Final[tuple[Action, ...]] = ("evaluate", "allow", "deny")
Scope: TypeAlias = Literal["global", "session"]
SCOPES: Final[tuple[Scope, ...]] = ("global", "session")
Refund: TypeAlias = Literal["on_error", "on_failure", "never"]
REFUNDS: Final[tuple[Refund, ...]] = ("on_error", "on_failure", "never")
NAMED_WINDOWS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3600, "day": 86400}
"""Length of each named window in seconds."""

Value: TypeAlias = "None | bool | Decimal | str | tuple[Value, ...] | Mapping[str, Value]"
"""A JSON value with exact numbers."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `path` is the way into the arguments, without `args`; `op` one of `OPERATORS`.

    `place` is where the value stands.
    """

    path: tuple[str, ...]
    op: str
    value: Value
    place: Place


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `max` calls in a window of `seconds`. `window` is how it was written: `minute`, or `60` for seconds."""

    max: int
    seconds: int
    window: str
    scope: Scope
    short: bool
    """True for the string form `5/hour`."""

    @property
    def counter(self) -> str:
        """The counter's name on its tool; the string form's can be read in conditions by that name."""
        return f"_rate_{self.window}" if self.short else f"_rate_{self.seconds}_{self.scope}"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an entry. `position` counts from 1; `reason` is None where the default message holds."""

    entry: str
    position: int
    name: str
    action: Action
    conditions: tuple[Condition, ...]
    rate_limit: RateLimit | None
    refund: Refund
    reason: str | None
    place: Place

    @property
    def id(self) -> str:
        """Unique in the policy, the same in Rego, data and explanations."""
        return f"{self.entry}#{self.position}"

    @property
    def kind(self) -> str:
        """What a refusal by this rule counts as."""
        return "rate_limit" if self.rate_limit else "rule"

    @property
    def message(self) -> str:
        """The words for the agent when this rule refuses (semantics: messages when none is given)."""
        if self.reason:
            return self.reason
        if self.rate_limit is None:
            return f"Denied by rule {quoted(self.name)}"
        if self.rate_limit.short:
            return f"Rate limit of {self.rate_limit.max} per {self.rate_limit.window} reached. Try again later."
        return f"Rate limit exceeded for {self.name}"


@dataclass(frozen=True, slots=True)
class Entry:
    """The rules under one tool's name, or under `*`."""

    tool: str
    rules: tuple[Rule, ...]
    place: Place

    @property
    def counters(self) -> str:
        """The name before the dot in the names of this entry's counters."""
        return "_global" if self.tool == ANY_TOOL else self.tool


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy. `entries` holds the exact tools and `*`, in file order; `source` is the file, for headers."""

    source: str
    sha256: str
    description: str
    default: Default
    entries: tuple[Entry, ...]
