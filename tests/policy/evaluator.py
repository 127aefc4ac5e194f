"""What a policy means, in plain Python: a second reading of the language, to hold the compiled one against.

It knows the documented rules of classes, order, limits and messages, `judging` those of conditions, and nothing of
YAML, Rego or the compiler. A policy is the plain mapping that a file would hold, numbers as `Decimal`; so are the
arguments of a call.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.policy.judging import EACH, Json, Known, Step, amount, holds, may_hold, root_of, steps

SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that refuses a call, or only reports that it would."""

    rule: str
    reason: str
    kind: str
    monitor: bool = False
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """What a call that passes takes from one counter; the total must stay within `limit`, below it if `exclusive`."""

    rule: str
    reason: str
    kind: str
    amount: Decimal
    limit: Decimal | None
    exclusive: bool
    seconds: int
    scope: str
    sliding: bool = False
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval that a call needs, times in seconds; `grant` is what the only rule that asks says of it."""

    timeout: int
    use_within: int
    approvers: int
    grant: Json = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole decision: who speaks and how, all that is refused or reported, what is taken, what must be approved."""

    action: str
    rule: str
    reason: str
    kind: str
    violations: tuple[Refusal, ...]
    taken: tuple[Taken, ...]
    approval: Approval | None


@dataclass(frozen=True, slots=True)
class Placed:
    """A rule where it stands: the entry it belongs to, its position from 1, and what the file says.

    A rule of a class belongs to the entry that gives it, and counts for `each` tool by itself.
    """

    entry: str
    at: int
    said: Mapping[str, Any]
    each: str | None = None

    @property
    def name(self) -> str:
        """The rule's own name, or its tool and position."""
        return str(self.said.get("name", f"{self.entry}#{self.at}"))

    @property
    def amount_paths(self) -> list[str]:
        """Where the amount stands that a call must have, and what it is multiplied with."""
        block = self.block
        path = block.get("increment_from") or (block["path"] if "spend_limit" in self.said else None)
        return [path, block["times"]] if path and "times" in block else [path] if path else []

    @property
    def block(self) -> Mapping[str, Any]:
        """What the rule says of how it counts."""
        found = self.said.get("spend_limit") or self.said.get("state") or self.said.get("rate_limit")
        return found if isinstance(found, Mapping) else {}

    @property
    def own_reason(self) -> str:
        """The author's words, empty when there are none."""
        return str(self.said.get("reason") or self.said.get("on_deny") or "")

    @property
    def own_limits(self) -> list[Mapping[str, Any]]:
        """The `lt` and `lte` conditions on the counter of the rule itself, which are its limits."""
        if "state" not in self.said or self.said.get("action", "evaluate") != "evaluate":
            return []
        of = "_class" if self.each is not None else "_global" if self.entry == "*" else self.entry
        own = f"state.{of}.{self.said['state']['counter']}"
        return [each for each in self.said.get("conditions", []) if each["path"] == own and each["op"] in ("lt", "lte")]

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """The conditions that are no limits."""
        limits = self.own_limits
        return [each for each in self.said.get("conditions", []) if each not in limits]


def decide(
    policy: Mapping[str, Any], tool: str, arguments: dict[str, Json], totals: Mapping[str, Decimal],
    caller: Mapping[str, Json] | None = None,
) -> Verdict:  # fmt: skip
    """The decision on one call; `totals` and `caller` as in `Known`."""
    known = Known(arguments, totals, caller or {})
    if is_hidden(policy, tool):
        return refused((Refusal("(hidden)", f"Tool {quoted(tool)} is hidden by policy", "hidden"),))
    if not is_permitted(policy, tool):
        words = f"Tool {quoted(tool)} is not permitted by policy"
        return refused((Refusal("(default deny)", words, "default_deny"),))
    rules = rules_about(policy, tool)
    violations = tuple(each for rule in rules if (each := refusal(rule, known)))
    if not all(each.monitor for each in violations):
        return refused(violations)
    taken = tuple(take for rule in rules if (take := what_it_takes(rule, known)))
    asking = [rule for rule in rules if asks(rule, known) and not monitors(rule)]
    if asking:
        first, approval = asking[0], approval_of(policy, asking)
        return Verdict(
            "require_approval", first.name, first.own_reason, "approval_required", violations, taken, approval
        )
    return Verdict("allow", "", "", "allow", violations, taken, None)


def refused(violations: tuple[Refusal, ...]) -> Verdict:
    """The first that does not only report speaks."""
    first = next(each for each in violations if not each.monitor)
    return Verdict("deny", first.rule, first.reason, first.kind, violations, (), None)


def is_hidden(policy: Mapping[str, Any], tool: str) -> bool:
    """True when an entry of `hide` names the tool."""
    return any(matches(entry, tool) for entry in policy.get("hide", []))


def matches(name: str, tool: str) -> bool:
    """True when a name, perhaps with `*` and `?`, is that of the tool."""
    if not name:
        return not tool
    if name[0] == "*":
        return any(matches(name[1:], tool[at:]) for at in range(len(tool) + 1))
    return bool(tool) and name[0] in ("?", tool[0]) and matches(name[1:], tool[1:])


def is_about(entry: str, tool: str) -> bool:
    """True when an entry other than `*` applies to the tool."""
    return matches(entry, tool) and entry != "*"


def is_permitted(policy: Mapping[str, Any], tool: str) -> bool:
    """True unless `default: deny` refuses the tool: no entry names it, by more than wildcards or what is tried."""
    naming = [entry for entry, said in policy["tools"].items() if entry.strip("*?") and not is_only_tried(said)]
    return policy["default"] != "deny" or any(is_about(entry, tool) for entry in naming)


def is_only_tried(entry: Mapping[str, Any]) -> bool:
    """True for an entry with rules of its own that are all in shadow."""
    rules = entry.get("rules", [])
    return bool(rules) and all(rule.get("mode") == "shadow" for rule in rules)


def is_callable(policy: Mapping[str, Any], tool: str) -> bool:
    """True when some call of a tool could pass."""
    if is_hidden(policy, tool) or not is_permitted(policy, tool):
        return False
    return not any(never_passes(rule) and not monitors(rule) for rule in rules_about(policy, tool))


def never_passes(rule: Placed) -> bool:
    """True for a rule that refuses every call, or whose limit is less than what one call takes."""
    if (rule.said.get("action") == "deny" and not rule.conditions) or cannot_be_met(rule):
        return True
    (limit, exclusive), each = limit_of(rule), Decimal(rule.block.get("increment", 1))
    counts_calls = "state" in rule.said and not rule.amount_paths
    return counts_calls and limit is not None and (each > limit or (exclusive and each == limit))


def entries_about(policy: Mapping[str, Any], tool: str) -> list[str]:
    """The entries that apply to a tool: the exact one, the globs in file order, `*`."""
    globs = [entry for entry in policy["tools"] if is_about(entry, tool) and ("*" in entry or "?" in entry)]
    exact = [entry for entry in policy["tools"] if entry == tool and entry not in globs and entry != "*"]
    return [*exact, *globs, *(entry for entry in policy["tools"] if entry == "*")]


def rules_about(policy: Mapping[str, Any], tool: str) -> list[Placed]:
    """The rules that apply to a tool, entry by entry; those of its class where the entry that gives it has none."""
    found: list[Placed] = []
    risk = None
    for entry in entries_about(policy, tool):
        said = policy["tools"][entry]
        gives = risk is None and "class" in said
        risk = risk or said.get("class")
        if "rules" in said:
            found += [Placed(entry, at, rule) for at, rule in enumerate(said["rules"], 1)]
        elif gives:
            rules = policy.get("classes", {}).get(risk, {"rules": []})["rules"]
            found += [Placed(entry, at, rule, each=tool) for at, rule in enumerate(rules, 1)]
    return found


def has_look_alikes(policy: Mapping[str, Any], tool: str, arguments: dict[str, Json]) -> bool:
    """True when an object in which a rule reads a key has it, but for case, more than once or as no rule reads it."""
    return _look_alikes(_read_paths(policy, tool), arguments)


def may_have_look_alikes(policy: Mapping[str, Any], tool: str, arguments: dict[str, Json]) -> bool:
    """The same where the names under `only` count as keys that are read: a call with another key is refused anyway."""
    rules = [rule for rule in rules_about(policy, tool) if not in_shadow(rule)]
    names = [[name] for rule in rules for name in rule.said.get("only", [])]
    return _look_alikes([*_read_paths(policy, tool), *names], arguments)


def _read_paths(policy: Mapping[str, Any], tool: str) -> list[list[Step]]:
    rules = [rule for rule in rules_about(policy, tool) if not in_shadow(rule)]
    paths = [path for rule in rules for path in rule.amount_paths]
    paths += [each[key] for rule in rules for each in rule.conditions for key in ("path", "times") if key in each]
    return [steps(path) for path in paths if not path.startswith("state.") and root_of(path) == "args"]


def _look_alikes(paths: Sequence[Sequence[Step]], value: Json) -> bool:
    if isinstance(value, list):
        inner = [path[1:] for path in paths if path and path[0] is EACH]
        return any(_look_alikes(inner, item) for item in value)
    if not isinstance(value, dict):
        return False
    read = {path[0] for path in paths if path and path[0] is not None}
    for key in read:
        twins = [other for other in value if other.casefold() == key.casefold()]
        if len(twins) > 1 or not set(twins) <= read:
            return True
    return any(_look_alikes([path[1:] for path in paths if path[:1] == [key]], value.get(key)) for key in read)


# One rule.


def refusal(rule: Placed, known: Known) -> Refusal | None:
    """Why the rule refuses a call, whatever is left of its limit; None when it does not."""
    if rule.amount_paths and amount_of(rule, known) is None:
        words = f"Rule {quoted(rule.name)} needs a number at {' times '.join(rule.amount_paths)}"
        return Refusal(rule.name, rule.own_reason or words, "invalid_amount", monitors(rule), in_shadow(rule))
    if refuses(rule, known):
        kind = "spend_limit" if "spend_limit" in rule.said else "rule"
        exceeded = f"Amount exceeds the limit per call of {rule.name}"
        words = exceeded if kind == "spend_limit" else f"Denied by rule {quoted(rule.name)}"
        return Refusal(rule.name, rule.own_reason or words, kind, monitors(rule), in_shadow(rule))
    if monitors(rule) and asks(rule, known):
        return Refusal(rule.name, rule.own_reason, "approval_required", monitor=True, shadow=in_shadow(rule))
    return None


def refuses(rule: Placed, known: Known) -> bool:
    """True when a rule whose amount can be counted refuses the call."""
    match rule.said.get("action", "evaluate"):
        case "deny" if all(may_hold(each, known) for each in rule.conditions):
            return True
        case "evaluate" if not all(holds(each, known) for each in rule.conditions):
            return True
    if "only" in rule.said and not set(known.arguments) <= set(rule.said["only"]):
        return True
    most = rule.said.get("spend_limit", {}).get("per_call")
    found = amount_of(rule, known)
    return (most is not None and found is not None and found > most) or cannot_be_met(rule)


def cannot_be_met(rule: Placed) -> bool:
    """True for a limit below any total that there can be: `lte -1`, `lt 0`."""
    limit, exclusive = limit_of(rule)
    return limit is not None and (limit < 0 or (exclusive and limit == 0))


def asks(rule: Placed, known: Known) -> bool:
    """True when the rule asks for an approval of the call."""
    wanted = rule.said.get("action") == "require_approval"
    return wanted and all(may_hold(each, known) for each in rule.conditions)


def monitors(rule: Placed) -> bool:
    """True for a rule that only reports."""
    return rule.said.get("mode") in ("monitor", "shadow")


def in_shadow(rule: Placed) -> bool:
    """True for a rule that is only tried: it only reports, and counts apart."""
    return rule.said.get("mode") == "shadow"


def approval_of(policy: Mapping[str, Any], asking: Sequence[Placed]) -> Approval:
    """What the rules say of their approvals, else the file, else the language; of several the strictest."""
    common = policy.get("approvals", {})
    timeouts = [rule.said.get("approval_timeout", common.get("timeout", "30m")) for rule in asking]
    return Approval(
        min(map(length, timeouts)),
        length(common.get("use_within", "10m")),
        max(int(rule.said.get("approvers", 1)) for rule in asking),
        asking[0].said.get("grant") if len(asking) == 1 else None,
    )


def amount_of(rule: Placed, known: Known) -> Decimal | None:
    """What a call adds to the rule's counter; None when it has no amount that can be counted."""
    if not rule.amount_paths:
        return Decimal(rule.block.get("increment", 1))
    return amount(known, rule.block, rule.amount_paths[0])


def limit_of(rule: Placed) -> tuple[Decimal | None, bool]:
    """The tightest limit on the rule's counter, and whether the total must stay below it."""
    match rule.said:
        case {"rate_limit": str(text)}:
            return Decimal(text.split("/")[0]), False
        case {"rate_limit": block}:
            return Decimal(block["max"]), False
        case {"spend_limit": block}:
            return block.get("max"), False
    tightest: tuple[Decimal | None, bool] = None, False
    for each in rule.own_limits:
        value, exclusive = each["value"], each["op"] == "lt"
        if tightest[0] is None or value < tightest[0] or (value == tightest[0] and exclusive):
            tightest = value, exclusive
    return tightest


def what_it_takes(rule: Placed, known: Known) -> Taken | None:
    """What a call that passes takes from the rule's counter; None when it has none, or nothing that can be counted."""
    match rule.said:
        case {"rate_limit": str(text)}:
            seconds, scope = SECONDS[text.split("/")[1]], "global"
        case {"rate_limit": block}:
            seconds, scope = length(block["window"]), block.get("scope", "session")
        case {"spend_limit": block} if "max" not in block:
            return None
        case {"spend_limit": block} | {"state": block}:
            seconds, scope = length(block["window"]), block.get("scope", "global")
        case _:
            return None
    found = amount_of(rule, known)
    if found is None:
        return None
    kind = "spend_limit" if rule.amount_paths else "rate_limit"
    # A limit that nobody can meet is the rule's own refusal, so no counter is asked to enforce it.
    limit = (None, False) if cannot_be_met(rule) else limit_of(rule)
    sliding = bool(rule.block.get("sliding"))
    return Taken(rule.name, limit_reason(rule), kind, found, *limit, seconds, scope, sliding, in_shadow(rule))


def limit_reason(rule: Placed) -> str:
    """The words for the agent when a limit is exhausted."""
    if rule.own_reason:
        return rule.own_reason
    text = rule.said.get("rate_limit")
    if isinstance(text, str):
        count, window = text.split("/")
        return f"Rate limit of {count} per {window} reached. Try again later."
    return f"Rate limit exceeded for {rule.name}"


def length(time: str | Decimal) -> int:
    """Seconds in `day`, `90s`, `15m`, `12h` or a number."""
    if not isinstance(time, str):
        return int(time)
    return SECONDS[time] if time in SECONDS else int(time[:-1]) * {"s": 1, "m": 60, "h": 3600}[time[-1]]


# Names in messages.


def quoted(name: str) -> str:
    """A name between quotes, escaped as in a JSON string; letters that can be seen stand as they are."""
    return '"' + "".join(char if _stands(char) else _escape(char) for char in name) + '"'


def _stands(char: str) -> bool:
    return char not in '"\\' and unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
