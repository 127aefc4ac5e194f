"""The policy as values: what the YAML says, checked and normalised, before it becomes Rego. No YAML, no Rego."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal, TypeAlias

from sidecar.policy import paths
from sidecar.policy.names import is_pattern, key
from sidecar.policy.paths import Path, Root
from sidecar.policy.problem import Place
from sidecar.text import quoted

ANY_TOOL: Final = "*"
"""The entry that applies to every tool, and the hide entry that hides every tool."""
GLOBAL: Final = "_global"
"""The name of the entry for every tool in the path of a counter."""
OWN_CLASS: Final = "_class"
"""The name that stands, in the path of a counter in the rules of a class, for each tool that has the class."""

Default: TypeAlias = Literal["allow", "deny"]
Listed: TypeAlias = Literal["all", "callable"]
LISTED: Final[tuple[Listed, ...]] = ("all", "callable")
Class: TypeAlias = Literal["Financial", "Destructive", "Execute", "Write", "Read"]
CLASSES: Final[tuple[Class, ...]] = ("Financial", "Destructive", "Execute", "Write", "Read")
Severity: TypeAlias = Literal["critical", "high", "medium", "low"]
SEVERITIES: Final[tuple[Severity, ...]] = ("critical", "high", "medium", "low")
SEVERITY_OF_CLASS: Final[Mapping[Class, Severity]] = {
    "Financial": "critical", "Destructive": "critical", "Execute": "high", "Write": "medium", "Read": "low",
}  # fmt: skip
"""The severity of a tool whose entry states none."""
DEFAULTS: Final[tuple[Default, ...]] = ("allow", "deny")
ALWAYS_OPEN: Final = ("initialize", "ping", "server/discover", "tools/list", "tools/call")
"""Methods that cannot be denied: without them there is no session, and tools have rules of their own."""
Mode: TypeAlias = Literal["enforce", "monitor"]
MODES: Final[tuple[Mode, ...]] = ("enforce", "monitor")
RuleMode: TypeAlias = Literal["enforce", "monitor", "shadow"]
RULE_MODES: Final[tuple[RuleMode, ...]] = (*MODES, "shadow")
Action: TypeAlias = Literal["evaluate", "allow", "deny", "require_approval"]
ACTIONS: Final[tuple[Action, ...]] = ("evaluate", "allow", "deny", "require_approval")
Scope: TypeAlias = Literal["global", "session", "principal"]
SCOPES: Final[tuple[Scope, ...]] = ("global", "session", "principal")
Refund: TypeAlias = Literal["not_run", "on_error", "on_failure", "never"]
REFUNDS: Final[tuple[Refund, ...]] = ("not_run", "on_error", "on_failure", "never")
AnswerForm: TypeAlias = Literal["error", "result"]
ANSWERS: Final[tuple[AnswerForm, ...]] = ("error", "result")
NAMED_WINDOWS: Final[Mapping[str, int]] = {"minute": 60, "hour": 3600, "day": 86400}
"""Length of each named window in seconds."""

Value: TypeAlias = "None | bool | Decimal | str | tuple[Value, ...] | Mapping[str, Value]"
"""A JSON value with exact numbers."""


@dataclass(frozen=True, slots=True)
class CounterName:
    """A counter as a path names it: `state.<tool>.<counter>`, where the tool may be `_global`."""

    tool: str
    counter: str

    def __str__(self) -> str:
        return f"state.{self.tool}.{self.counter}"


@dataclass(frozen=True, slots=True)
class CallerPath:
    """A path into what is known of the caller: `principal.subject`, `session.client.name`, `workload.pod`."""

    root: Root
    steps: Path

    def __str__(self) -> str:
        return paths.shown(self.root, self.steps)


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of `subject`, a path into the arguments, a counter or a path about the caller, with `value`.

    `op` is one of `OPERATORS`. With `times` the subject's value is the product with the value at that path. With
    `decimal_text` text that writes a decimal is that number. `optional` makes a value that is absent or null pass.
    `place` is where the value stands, `path_place` where the path does.
    """

    subject: Path | CounterName | CallerPath
    op: str
    value: Value
    place: Place
    path_place: Place
    times: Path | None = None
    decimal_text: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A window of `seconds`; `name` is how it was written: `minute`, or `60` for seconds.

    A `sliding` one ends now, and counts in any span of that length; others are aligned to the clock.
    """

    seconds: int
    name: str
    sliding: bool = False

    @property
    def label(self) -> str | int:
        """The window in data and answers: its name, or its seconds."""
        return self.name if self.name.isalpha() else self.seconds


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `max` calls in a window; `short` is the string form `5/hour`."""

    max: int
    window: Window
    scope: Scope
    short: bool

    @property
    def counter(self) -> str:
        """The counter's name on its tool; that of the string form can be read in conditions."""
        return f"_rate_{self.window.name}" if self.short else f"_rate_{self.window.seconds}_{self.scope}"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount in the arguments: what stands at `path`, or its product with what stands at `times`.

    With `[*]` in the path it is the sum over all elements. `decimal_text` counts text that writes a decimal.
    """

    path: Path
    times: Path | None = None
    decimal_text: bool = False

    def __str__(self) -> str:
        path = paths.shown("args", self.path)
        return path if self.times is None else f"{path} times {paths.shown('args', self.times)}"

    @property
    def traits(self) -> tuple[str, ...]:
        """How it is read, beyond what stands at `path`: another text for every other way."""
        times = () if self.times is None else (f"times={paths.shown('args', self.times)}",)
        return (*times, "decimal_text") if self.decimal_text else times


@dataclass(frozen=True, slots=True)
class SpendLimit:
    """At most `per_call` of `amount` in one call, `max` in a window; either may be None, and with `max` the window."""

    amount: Amount
    per_call: Decimal | None
    max: Decimal | None
    window: Window | None
    scope: Scope

    @property
    def counter(self) -> str:
        """The counter's name on its tool."""
        path = self.amount.path
        steps = "/".join(map(str, path)) if _is_of_words(path) else f"/{paths.shown('args', path)}"
        return f"_spend_{self.window.seconds if self.window else 0}_{self.scope}_{steps}"


@dataclass(frozen=True, slots=True)
class State:
    """A counter: each call adds `increment`, or the amount `increment_from`."""

    counter: str
    window: Window
    increment: Decimal
    increment_from: Amount | None
    scope: Scope


@dataclass(frozen=True, slots=True)
class Granting:
    """Standing approvals that a rule permits: for `seconds` at most, and `calls` calls at most.

    The values at the paths of `same` must be equal, the numbers at those of `at_most` not greater.
    """

    seconds: int
    calls: int
    same: tuple[Path, ...]
    at_most: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Approval:
    """What a rule says about the approvals it asks for; `timeout` in seconds, or None to use the file's."""

    timeout: int | None
    approvers: int
    grant: Granting | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """What the total of a counter may reach: at most `value`, or less than it where it is `exclusive`."""

    value: Decimal
    exclusive: bool

    @property
    def impossible(self) -> bool:
        """True when no total, not even 0, is within it."""
        return self.value < 0 or (self.exclusive and self.value <= 0)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of an entry. `position` counts from 1; `given_name` and `reason` are None where the file says none.

    `only` are the keys that the arguments may have at their top; None where the rule does not say. One that is to
    `monitor` only reports. If it stands in `shadow` too, it has no part in anything else: it counts apart, and no rule
    reads its counter.
    """

    entry: str
    position: int
    given_name: str | None
    action: Action
    conditions: tuple[Condition, ...]
    rate_limit: RateLimit | None
    spend_limit: SpendLimit | None
    state: State | None
    approval: Approval | None
    refund: Refund
    monitor: bool
    reason: str | None
    place: Place
    only: tuple[str, ...] | None = None
    shadow: bool = False

    @property
    def name(self) -> str:
        """What people are shown: the name that the file gives, else the place in the entry."""
        return self.given_name or f"{self.entry}#{self.position}"

    @property
    def id(self) -> str:
        """The key of the proof, another one for every rule of a policy; a rule with a name keeps it where it moves.

        The first slash or number sign is ours, and ends the entry's name: there both are percent-encoded.
        """
        entry = key(self.entry).replace("/", "%2F").replace("#", "%23")
        return f"{entry}/{key(self.given_name)}" if self.given_name else f"{entry}#{self.position}"

    @property
    def counter(self) -> str | None:
        """The name on its tool of the counter that this rule counts on; None when it counts nothing."""
        if self.spend_limit and (self.spend_limit.max is None or self.spend_limit.window is None):
            return None  # `max` without a window is a mistake that the reader tells
        counting = self.rate_limit or self.spend_limit or self.state
        return counting.counter if counting else None

    @property
    def has_readable_counter(self) -> bool:
        """True where conditions may read the counter: that of a state, or of the string form of a rate limit."""
        return not self.shadow and (self.state is not None or bool(self.rate_limit and self.rate_limit.short))

    @property
    def stored(self) -> str | None:
        """The counter's name on its tool in stores: another one for every counter, and without dots.

        A counter that the first edition could have keeps its own name there. All others begin with `_rate_`, as no name
        that a file gives does, and have a colon, as no other of these has: behind it stands their own name, before it
        what they are.
        """
        name, counting = self.counter, self.rate_limit or self.spend_limit or self.state
        if name is None or counting is None:
            return None
        traits: tuple[str, ...] = ("shadow",) if self.shadow else ()
        # A spending limit that is not as it should be may have no window.
        traits += ("sliding",) if counting.window and counting.window.sliding else ()
        if self.amount:
            traits += self.amount.traits
        if self.spend_limit and (traits or not _is_of_words(self.spend_limit.amount.path)):
            traits = ("spend", *traits)  # a file may name a counter as that of a spending limit
        if not traits:
            return name
        return f"_rate_{','.join(_encoded(trait, '%.,:') for trait in traits)}:{_encoded(name, '%.')}"

    @property
    def window(self) -> Window:
        """The window of the counter; only a rule with a counter has one."""
        counting = self.rate_limit or self.spend_limit or self.state
        window = counting.window if counting else None
        assert window is not None  # `counter` is None otherwise
        return window

    @property
    def scope(self) -> Scope:
        """The scope of the counter; only a rule with a counter has one."""
        counting = self.rate_limit or self.spend_limit or self.state
        return counting.scope if counting else "global"

    @property
    def amount(self) -> Amount | None:
        """The amount that every call must have."""
        if self.spend_limit:
            return self.spend_limit.amount
        return self.state.increment_from if self.state else None

    @property
    def own_limits(self) -> tuple[Condition, ...]:
        """The conditions that are limits on the rule's own counter: `lt` and `lte` of an evaluate rule."""
        if self.state is None or self.action != "evaluate":
            return ()
        own = CounterName(GLOBAL if self.entry == ANY_TOOL else self.entry, self.state.counter)
        return tuple(item for item in self.conditions if item.subject == own and item.op in ("lt", "lte"))

    @property
    def bound(self) -> Bound | None:
        """The tightest limit on the rule's counter; None when it only counts."""
        if self.rate_limit:
            return Bound(Decimal(self.rate_limit.max), exclusive=False)
        if self.spend_limit:
            return Bound(self.spend_limit.max, exclusive=False) if self.spend_limit.max is not None else None
        bounds = [Bound(item.value, item.op == "lt") for item in self.own_limits if isinstance(item.value, Decimal)]
        return min(bounds, key=lambda bound: (bound.value, not bound.exclusive), default=None)

    @property
    def denies(self) -> bool:
        """True for a rule that no call can pass."""
        return (self.action == "deny" and not self.conditions) or bool(self.bound and self.bound.impossible)

    @property
    def may_refuse(self) -> bool:
        """True where the rule itself refuses some calls: not its counter, an amount that is none, or a person."""
        demands = self.action == "evaluate" and bool(self.asked or self.only is not None)
        per_call = bool(self.spend_limit and self.spend_limit.per_call is not None)
        return self.action == "deny" or self.denies or demands or per_call

    @property
    def holds_back(self) -> bool:
        """True where some call may not pass for it: the rule refuses, limits or asks, and not only to report that."""
        guards = self.may_refuse or self.bound or self.amount or self.action == "require_approval"
        return not self.monitor and bool(guards)

    @property
    def always_asks(self) -> bool:
        """True for a rule that asks for an approval of every call."""
        return self.action == "require_approval" and not self.conditions

    @property
    def never_passed(self) -> bool:
        """True for a rule that no call ever gets past: it denies, or its limit is less than what one call takes."""
        bound = self.bound
        if bound is None or self.denies:
            return self.denies
        least = 0 if self.amount or not self.state else self.state.increment
        return least > bound.value or (bound.exclusive and least == bound.value)

    @property
    def asked(self) -> tuple[Condition, ...]:
        """The conditions that the engine is asked about: all but the own limits."""
        return tuple(item for item in self.conditions if item not in self.own_limits)

    @property
    def kind(self) -> str:
        """The kind of a refusal by the rule itself, as metrics and the audit log name it."""
        if self.rate_limit:
            return "rate_limit"
        return "spend_limit" if self.spend_limit else "rule"

    @property
    def message(self) -> str:
        """The words for the agent when the rule itself refuses, or asks."""
        if self.action == "require_approval":
            return self.reason or f"Rule {quoted(self.name)} needs an approval"
        if self.reason or self.rate_limit:
            return self.limit_message
        if self.spend_limit:
            return f"Amount exceeds the limit per call of {self.name}"
        return f"Denied by rule {quoted(self.name)}"

    @property
    def limit_message(self) -> str:
        """The words for the agent when the rule's counter is exhausted."""
        if self.reason:
            return self.reason
        if self.rate_limit and self.rate_limit.short:
            return f"Rate limit of {self.rate_limit.max} per {self.rate_limit.window.name} reached. Try again later."
        return f"Rate limit exceeded for {self.name}"

    @property
    def amount_message(self) -> str:
        """The words for the agent when a call has no `amount` that can be counted; only a rule with one says them."""
        return self.reason or f"Rule {quoted(self.name)} needs a number at {self.amount}"


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """The rules under one name: a tool's, a pattern with `*` or `?`, or `*` for every tool.

    `risk` is the class of its tools, None where it gives none, and `severity` what it states of them. `by_class` is
    True where the rules are those of the class, since the entry has none of its own.
    """

    tool: str
    rules: tuple[Rule, ...]
    place: Place
    risk: Class | None = None
    severity: Severity | None = None
    by_class: bool = False

    @property
    def is_pattern(self) -> bool:
        """True for a pattern; `*` alone is none."""
        return self.tool != ANY_TOOL and is_pattern(self.tool)

    @property
    def is_in_shadow(self) -> bool:
        """True when all that the entry says of its tools stands in shadow."""
        return bool(self.rules) and not self.by_class and all(rule.shadow for rule in self.rules)

    @property
    def permits(self) -> bool:
        """True when `default: deny` does not apply to the entry's tools.

        Its name is more than wildcards, and not all of its rules are in shadow: one that is tried must not open a tool.
        """
        return bool(self.tool.strip("*?")) and not self.is_in_shadow

    @property
    def known_severity(self) -> Severity | None:
        """The severity that the entry states, else that of its class."""
        return self.severity or (SEVERITY_OF_CLASS[self.risk] if self.risk else None)

    @property
    def counts_each_tool(self) -> bool:
        """True when its rules count each tool that is called by itself: those of a class do, under a pattern too."""
        return self.by_class and self.is_pattern

    @property
    def counters(self) -> str:
        """The name before the last dot in the names of this entry's counters, unique in the policy.

        A tool that is really called `_global` is quoted, and so is a name that begins with a quote: no two share one.
        """
        if self.tool == ANY_TOOL:
            return GLOBAL
        return quoted(self.tool) if self.tool == GLOBAL or self.tool.startswith('"') else self.tool


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where approvals are announced; the secret is in the environment variable `secret_env`."""

    url: str
    secret_env: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """How approvals work. Times are in seconds; approvers do not see the values at the paths in `mask`.

    `answer` says what an agent is told while a person is asked: a JSON-RPC error, or the result of a tool.
    `place` is where they stand, None where no file says anything of them.
    """

    timeout: int = 1800
    use_within: int = 600
    hold: int = 0
    four_eyes: bool = False
    mask: tuple[Path, ...] = ()
    webhook: Webhook | None = None
    answer: AnswerForm = "error"
    place: Place | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Hidden:
    """An entry of `hide`: a name, or a pattern."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class Methods:
    """Which methods of a client pass: none in `deny`; others if known, in `allow`, or if `unknown` is `allow`."""

    unknown: Default
    allow: frozenset[str] = frozenset()
    deny: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ClassRules:
    """The rules of a class, for tools without rules of their own. Their `entry` is the name of the class."""

    risk: Class
    rules: tuple[Rule, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Source:
    """A policy file and the hash of its text."""

    file: str
    sha256: str


@dataclass(frozen=True, slots=True)
class PolicyFile:
    """What one file says. None stands for what it does not say, so that files can be merged. Places are of the keys."""

    source: Source
    keys: Mapping[str, Place]
    description: str | None
    default: Default | None
    methods: Methods
    mode: Mode | None
    hide: tuple[Hidden, ...]
    listed: Listed | None
    approvals: Approvals | None
    classes: tuple[ClassRules, ...]
    entries: tuple[PolicyEntry, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy, of one file or several. `entries` are in the order of the files."""

    sources: tuple[Source, ...]
    default: Default
    methods: Methods
    mode: Mode
    hide: tuple[Hidden, ...]
    listed: Listed
    approvals: Approvals
    classes: tuple[ClassRules, ...]
    entries: tuple[PolicyEntry, ...]

    def counters(self) -> dict[CounterName, tuple[PolicyEntry, Rule]]:
        """Every counter that a condition may read, with the entry and the rule that count on it.

        `state._global` is the entry `*`. If that has no such counter, it is a tool that is really called `_global`.
        """
        found: dict[CounterName, tuple[PolicyEntry, Rule]] = {}
        for entry in sorted(self.entries, key=lambda entry: entry.tool != ANY_TOOL):
            tool = GLOBAL if entry.tool == ANY_TOOL else entry.tool
            for rule in entry.rules:
                if rule.counter and rule.has_readable_counter:
                    found.setdefault(CounterName(tool, rule.counter), (entry, rule))
        return found


def _is_of_words(path: Path) -> bool:
    """True for a path that slashes can join without becoming another's text, and that the first edition could have."""
    return all(step and not {".", "/"} & set(step) for step in path)


def _encoded(text: str, special: str) -> str:
    return "".join(f"%{ord(char):02X}" if char in special else char for char in text)
