"""What a policy means, in plain Python: a second reading of the language, to hold the compiled one against.

It knows the documented rules of paths, operators, order and messages, and nothing of YAML, Rego or the compiler. A
policy is the plain mapping that a file would hold, numbers as `Decimal`; so are the arguments of a call.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, TypeAlias

Json: TypeAlias = "None | bool | Decimal | str | list[Json] | dict[str, Json]"

PATTERNS: Final[Mapping[str, str]] = {
    "^a": r"\Aa",
    "b$": r"b\Z",
    "^$": r"\A\Z",
    "a.c": r"a[^\n]c",
    "[0-9]{2}": "[0-9]{2}",
    r"\d\.\d": r"[0-9]\.[0-9]",
    r"^\w+$": r"\A[0-9A-Za-z_]+\Z",
    "(?i)ABC|é": "[aA][bB][cC]|é",
    "`": "`",
    '"': '"',
    "^[^a-z]+$": r"\A[^a-z]+\Z",
    "": "",
}
"""Patterns of RE2 and what they are called in Python, where `$`, `.`, `\\d` and `\\w` have other meanings."""

SECONDS: Final = {"minute": 60, "hour": 3600, "day": 86400}


class _Missing:
    """What stands where a path leads nowhere."""


MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Refusal:
    """One rule that refuses a call, or only reports that it would."""

    rule: str
    reason: str
    kind: str
    monitor: bool = False


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


@dataclass(frozen=True, slots=True)
class Approval:
    """The approval that a call needs, times in seconds."""

    timeout: int
    use_within: int
    approvers: int


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
    """A rule where it stands: the entry it belongs to, its position from 1, and what the file says."""

    entry: str
    at: int
    said: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The rule's own name, or its tool and position."""
        return str(self.said.get("name", f"{self.entry}#{self.at}"))

    @property
    def amount_path(self) -> str | None:
        """Where the amount stands that a call must have."""
        block = self.said.get("spend_limit")
        return str(block["path"]) if block else self.said.get("state", {}).get("increment_from")

    @property
    def own_reason(self) -> str:
        """The author's words, empty when there are none."""
        return str(self.said.get("reason") or self.said.get("on_deny") or "")

    @property
    def own_limits(self) -> list[Mapping[str, Any]]:
        """The `lt` and `lte` conditions on the counter of the rule itself, which are its limits."""
        if "state" not in self.said or self.said.get("action", "evaluate") != "evaluate":
            return []
        own = f"state.{'_global' if self.entry == '*' else self.entry}.{self.said['state']['counter']}"
        return [each for each in self.said.get("conditions", []) if each["path"] == own and each["op"] in ("lt", "lte")]

    @property
    def conditions(self) -> list[Mapping[str, Any]]:
        """The conditions that are no limits."""
        limits = self.own_limits
        return [each for each in self.said.get("conditions", []) if each not in limits]


def decide(
    policy: Mapping[str, Any], tool: str, arguments: dict[str, Json], totals: Mapping[str, Decimal]
) -> Verdict:  # fmt: skip
    """The decision on one call; `totals` are the counters before it, by the path that reads them."""
    if is_hidden(policy, tool):
        return refused((Refusal("(hidden)", f"Tool {quoted(tool)} is hidden by policy", "hidden"),))
    if policy["default"] == "deny" and not any(is_about(entry, tool) for entry in policy["tools"] if entry.strip("*?")):
        words = f"Tool {quoted(tool)} is not permitted by policy"
        return refused((Refusal("(default deny)", words, "default_deny"),))
    rules = rules_about(policy, tool)
    violations = tuple(each for rule in rules if (each := refusal(rule, arguments, totals)))
    if not all(each.monitor for each in violations):
        return refused(violations)
    taken = tuple(take for rule in rules if (take := what_it_takes(rule, arguments)))
    for rule in rules:
        if asks(rule, arguments, totals) and not monitors(rule):
            approval = approval_of(policy, rule)
            return Verdict(
                "require_approval", rule.name, rule.own_reason, "approval_required", violations, taken, approval
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


def rules_about(policy: Mapping[str, Any], tool: str) -> list[Placed]:
    """The rules that apply to a tool: of the exact entry, of the globs in file order, of `*`."""
    globs = [entry for entry in policy["tools"] if is_about(entry, tool) and ("*" in entry or "?" in entry)]
    exact = [entry for entry in policy["tools"] if entry == tool and entry not in globs and entry != "*"]
    names = [*exact, *globs, *(entry for entry in policy["tools"] if entry == "*")]
    return [Placed(name, at, rule) for name in names for at, rule in enumerate(policy["tools"][name]["rules"], 1)]


def has_look_alikes(policy: Mapping[str, Any], tool: str, arguments: dict[str, Json]) -> bool:
    """True when an object in which a rule reads a key has it, but for case, more than once or as no rule reads it."""
    rules = rules_about(policy, tool)
    paths = [each["path"] for rule in rules for each in rule.conditions if each["path"].startswith("args.")]
    paths += [rule.amount_path for rule in rules if rule.amount_path]
    return _look_alikes([steps(path) for path in paths], arguments)


def _look_alikes(paths: Sequence[Sequence[str]], value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    read = {path[0] for path in paths if path}
    for key in read:
        twins = [other for other in value if other.casefold() == key.casefold()]
        if len(twins) > 1 or not set(twins) <= read:
            return True
    return any(_look_alikes([path[1:] for path in paths if path[:1] == [key]], value.get(key)) for key in read)


# One rule.


def refusal(rule: Placed, arguments: dict[str, Json], totals: Mapping[str, Decimal]) -> Refusal | None:
    """Why the rule refuses a call, whatever is left of its limit; None when it does not."""
    if rule.amount_path and amount_of(rule, arguments) is None:
        words = f"Rule {quoted(rule.name)} needs a number at {seen(rule.amount_path)}"
        return Refusal(rule.name, words, "invalid_amount", monitors(rule))
    if refuses(rule, arguments, totals):
        kind = "spend_limit" if "spend_limit" in rule.said else "rule"
        words = rule.own_reason or (
            limit_reason(rule) if kind == "spend_limit" else f"Denied by rule {quoted(rule.name)}"
        )
        return Refusal(rule.name, words, kind, monitors(rule))
    if monitors(rule) and asks(rule, arguments, totals):
        return Refusal(rule.name, rule.own_reason, "approval_required", monitor=True)
    return None


def refuses(rule: Placed, arguments: dict[str, Json], totals: Mapping[str, Decimal]) -> bool:
    """True when a rule whose amount can be counted refuses the call."""
    match rule.said.get("action", "evaluate"):
        case "deny":
            return True
        case "evaluate" if not all(holds(each, arguments, totals) for each in rule.conditions):
            return True
    most = rule.said.get("spend_limit", {}).get("per_call")
    amount = amount_of(rule, arguments)
    return (most is not None and amount is not None and amount > most) or cannot_be_met(rule)


def cannot_be_met(rule: Placed) -> bool:
    """True for a limit below any total that there can be: `lte -1`, `lt 0`."""
    limit, exclusive = limit_of(rule)
    return limit is not None and (limit < 0 or (exclusive and limit == 0))


def asks(rule: Placed, arguments: dict[str, Json], totals: Mapping[str, Decimal]) -> bool:
    """True when the rule asks for an approval of the call."""
    wanted = rule.said.get("action") == "require_approval"
    return wanted and all(may_hold(each, arguments, totals) for each in rule.conditions)


def monitors(rule: Placed) -> bool:
    """True for a rule that only reports."""
    return rule.said.get("mode") == "monitor"


def approval_of(policy: Mapping[str, Any], rule: Placed) -> Approval:
    """What the rule says of its approvals, else the file, else the language."""
    common = policy.get("approvals", {})
    timeout = rule.said.get("approval_timeout", common.get("timeout", "30m"))
    return Approval(length(timeout), length(common.get("use_within", "10m")), int(rule.said.get("approvers", 1)))


def amount_of(rule: Placed, arguments: dict[str, Json]) -> Decimal | None:
    """What a call adds to the rule's counter; None when it has no amount that can be counted."""
    if rule.amount_path is None:
        return Decimal(rule.said.get("state", {}).get("increment", 1))
    found = lookup(arguments, steps(rule.amount_path))
    if not isinstance(found, Decimal) or found < 0:
        return None
    digits = "".join(map(str, found.as_tuple().digits)).strip("0")
    fits = len(digits) <= 34 and Decimal("1e-30") <= found < Decimal("1e31")
    return found if fits or found == 0 else None


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


def what_it_takes(rule: Placed, arguments: dict[str, Json]) -> Taken | None:
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
    amount = amount_of(rule, arguments)
    if amount is None:
        return None
    kind = "spend_limit" if rule.amount_path else "rate_limit"
    # A limit that nobody can meet is the rule's own refusal, so no counter is asked to enforce it.
    limit = (None, False) if cannot_be_met(rule) else limit_of(rule)
    return Taken(rule.name, limit_reason(rule), kind, amount, *limit, seconds, scope)


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


# One condition.


def holds(condition: Mapping[str, Any], arguments: dict[str, Json], totals: Mapping[str, Decimal]) -> bool:
    """True when one condition is met for certain; a counter is read as it stands before the call."""
    path = condition["path"]
    found = totals[path] if path.startswith("state.") else lookup(arguments, steps(path))
    wanted = condition["value"]
    if condition["op"] == "exists":
        return (found is MISSING or found is None) is not wanted
    if isinstance(found, _Missing):
        return False
    match condition["op"]:
        case "neq":
            return not alike(found, wanted)
        case "not_in":
            return not any(alike(found, item) for item in wanted)
        case "contains":
            return contains(found, wanted, equal)
        case op:
            return compares(op, found, wanted)


def may_hold(condition: Mapping[str, Any], arguments: dict[str, Json], totals: Mapping[str, Decimal]) -> bool:
    """True when one condition is met, or cannot be judged: a value of another type, something in the way."""
    path, op, wanted = condition["path"], condition["op"], condition["value"]
    if path.startswith("state."):
        found: Json | _Missing = totals[path]
    else:
        found = lookup(arguments, steps(path))
        if is_blocked(arguments, steps(path)):
            return True
    if op == "exists":
        return (found is MISSING or found is None) is not wanted
    if isinstance(found, _Missing):
        return False
    match op:
        case "eq":
            return alike(found, wanted)
        case "neq":
            return not equal(found, wanted)
        case "in":
            return any(alike(found, item) for item in wanted)
        case "not_in":
            return not any(equal(found, item) for item in wanted)
        case "contains" if isinstance(found, str) and isinstance(wanted, str):
            return wanted in found
        case "contains" if not isinstance(found, list):
            return found is not None
        case "contains":
            return contains(found, wanted, alike)
        case "regex" if not isinstance(found, str):
            return found is not None
        case "lt" | "lte" | "gt" | "gte" if not isinstance(found, Decimal):
            return found is not None
        case _:
            return compares(op, found, wanted)


def is_blocked(arguments: dict[str, Json], path: Sequence[str]) -> bool:
    """True when the way leads into something that is there, not null, and no object."""
    before = [lookup(arguments, path[:length]) for length in range(1, len(path))]
    return any(not isinstance(each, dict | _Missing | None) for each in before)


def compares(op: str, found: Json, wanted: Any) -> bool:
    """True when an operator that looks at exact values says yes."""
    match op:
        case "eq":
            return equal(found, wanted)
        case "in":
            return any(equal(found, item) for item in wanted)
        case "lt":
            return isinstance(found, Decimal) and bool(found < wanted)
        case "lte":
            return isinstance(found, Decimal) and bool(found <= wanted)
        case "gt":
            return isinstance(found, Decimal) and bool(found > wanted)
        case "gte":
            return isinstance(found, Decimal) and bool(found >= wanted)
        case "regex":
            return isinstance(found, str) and re.search(PATTERNS[wanted], found) is not None
        case _:
            raise ValueError(op)


def contains(found: Json, wanted: Json, equals: Callable[[Json, Json], bool]) -> bool:
    """A text holds a text, or a list has an element that is equal."""
    if isinstance(found, list):
        return any(equals(item, wanted) for item in found)
    return isinstance(found, str) and isinstance(wanted, str) and wanted in found


def steps(path: str) -> list[str]:
    """`args.a.b` is `a`, `b`."""
    return path.split(".")[1:]


def lookup(arguments: dict[str, Json], path: Sequence[str]) -> Json | _Missing:
    """Walk objects only."""
    value: Json = arguments
    for step in path:
        if not isinstance(value, dict) or step not in value:
            return MISSING
        value = value[step]
    return value


def equal(one: Json, other: Json) -> bool:
    """`eq`: the same JSON value, or a text and the number or boolean that is written the same way."""
    if isinstance(one, str) and isinstance(other, bool | Decimal):
        return one == written(other)
    if isinstance(other, str) and isinstance(one, bool | Decimal):
        return other == written(one)
    return same(one, other)


def alike(one: Json, other: Json) -> bool:
    """`eq`, or so for a server that reads every number as a binary double; a text stays what it is."""
    if isinstance(other, str) and isinstance(one, Decimal) and re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", other):
        number = Decimal(other)
        return equal(one, other) or (written(number) == other and float(one) == float(number))
    return equal(one, other) or same(one, other, doubles=True)


def same(one: Json, other: Json, *, doubles: bool = False) -> bool:
    """Equal as JSON values, the numbers exactly or as doubles."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair, doubles=doubles) for pair in zip(one, other, strict=True))
    if isinstance(one, dict) and isinstance(other, dict):
        items = one.items()
        return one.keys() == other.keys() and all(same(value, other[key], doubles=doubles) for key, value in items)
    if doubles and isinstance(one, Decimal) and isinstance(other, Decimal):
        return float(one) == float(other)
    return type(one) is type(other) and one == other


def written(value: bool | Decimal) -> str:
    """The one text of a boolean or a number: no exponent, no sign of zero, no trailing zeros."""
    if isinstance(value, bool):
        return "true" if value else "false"
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    whole = "".join(map(str, digits)) + "0" * exponent
    if exponent < 0:
        whole = whole.rjust(1 - exponent, "0")
        whole, fraction = whole[:exponent], whole[exponent:].rstrip("0")
    else:
        fraction = ""
    whole = whole.lstrip("0") or "0"
    text = f"{whole}.{fraction}" if fraction else whole
    return f"-{text}" if sign and text != "0" else text


def quoted(name: str) -> str:
    """A name between quotes, escaped as in a JSON string; letters that can be seen stand as they are."""
    return '"' + "".join(char if _stands(char) else _escape(char) for char in name) + '"'


def seen(text: str) -> str:
    """A text with what cannot be seen in it escaped."""
    return "".join(char if char in '"\\' or _stands(char) else _escape(char) for char in text)


def _stands(char: str) -> bool:
    return char not in '"\\' and unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
