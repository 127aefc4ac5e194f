"""What a policy means, in plain Python: a second reading of the language, to hold the compiled one against.

It knows the documented rules of paths, operators, order and messages, and nothing of YAML, Rego or the compiler. A
policy is the plain mapping that a file would hold, numbers as `Decimal`; so are the arguments of a call.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
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
    """One rule that refuses a call."""

    rule: str
    reason: str
    kind: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What an allowed call takes from one counter."""

    rule: str
    reason: str
    limit: int
    seconds: int
    scope: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole decision: refusals in order, the first of which speaks, or what an allowed call takes."""

    action: str
    refusals: tuple[Refusal, ...]
    taken: tuple[Taken, ...]


def decide(policy: Mapping[str, Any], tool: str, arguments: dict[str, Json]) -> Verdict:
    """The decision on one call."""
    tools = policy["tools"]
    if policy["default"] == "deny" and (tool == "*" or tool not in tools):
        words = f"Tool {quoted(tool)} is not permitted by policy"
        return Verdict("deny", (Refusal("(default deny)", words, "default_deny"),), ())
    rules = [(entry, at, rule) for entry in entries(policy, tool) for at, rule in enumerate(tools[entry]["rules"], 1)]
    refusals = [
        Refusal(name_of(*each), reason_of(*each), kind_of(each[2])) for each in rules if refuses(each[2], arguments)
    ]
    if refusals:
        return Verdict("deny", tuple(refusals), ())
    return Verdict("allow", (), tuple(taken(*each) for each in rules if "rate_limit" in each[2]))


def entries(policy: Mapping[str, Any], tool: str) -> list[str]:
    """The entries that apply to a tool, in order."""
    return [entry for entry in dict.fromkeys((tool, "*")) if entry in policy["tools"]]


def has_look_alikes(policy: Mapping[str, Any], tool: str, arguments: dict[str, Json]) -> bool:
    """True when an object of the arguments in which a rule reads a key has it, but for case, more than once."""
    conditions = [
        condition
        for entry in entries(policy, tool)
        for rule in policy["tools"][entry]["rules"]
        for condition in rule.get("conditions", [])
    ]
    return any(_look_alike_on(steps(condition["path"]), arguments) for condition in conditions)


def _look_alike_on(path: Sequence[str], arguments: dict[str, Json]) -> bool:
    value: Any = arguments
    for step in path:
        if not isinstance(value, dict):
            return False
        if [key.casefold() for key in value].count(step.casefold()) > 1:
            return True
        value = value.get(step)
    return False


def refuses(rule: Mapping[str, Any], arguments: dict[str, Json]) -> bool:
    """True when a rule refuses a call with these arguments, whatever was counted."""
    if rule.get("action") == "deny":
        return True
    return not all(holds(condition, arguments) for condition in rule.get("conditions", []))


def holds(condition: Mapping[str, Any], arguments: dict[str, Json]) -> bool:
    """True when one condition is met."""
    found = lookup(arguments, steps(condition["path"]))
    wanted = condition["value"]
    if condition["op"] == "exists":
        return (found is MISSING or found is None) is not wanted
    if isinstance(found, _Missing):
        return False
    match condition["op"]:
        case "eq":
            return equal(found, wanted)
        case "neq":
            return not equal(found, wanted)
        case "in":
            return any(equal(found, item) for item in wanted)
        case "not_in":
            return not any(equal(found, item) for item in wanted)
        case "lt":
            return isinstance(found, Decimal) and found < wanted
        case "lte":
            return isinstance(found, Decimal) and found <= wanted
        case "gt":
            return isinstance(found, Decimal) and found > wanted
        case "gte":
            return isinstance(found, Decimal) and found >= wanted
        case "regex":
            return isinstance(found, str) and re.search(PATTERNS[wanted], found) is not None
        case "contains":
            return contains(found, wanted)
        case op:
            raise ValueError(op)


def contains(found: Json, wanted: Json) -> bool:
    """A text holds a text, or a list has an element that is `eq`."""
    if isinstance(found, list):
        return any(equal(item, wanted) for item in found)
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


def same(one: Json, other: Json) -> bool:
    """Equal as JSON values."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
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


def name_of(entry: str, at: int, rule: Mapping[str, Any]) -> str:
    """A rule's own name, or its tool and position."""
    return str(rule.get("name", f"{entry}#{at}"))


def kind_of(rule: Mapping[str, Any]) -> str:
    """What a refusal counts as."""
    return "rate_limit" if "rate_limit" in rule else "rule"


def reason_of(entry: str, at: int, rule: Mapping[str, Any]) -> str:
    """The words for the agent."""
    own = rule.get("reason", rule.get("on_deny"))
    name = name_of(entry, at, rule)
    match rule.get("rate_limit"):
        case _ if own:
            return str(own)
        case None:
            return f"Denied by rule {quoted(name)}"
        case str(text):
            count, window = text.split("/")
            return f"Rate limit of {count} per {window} reached. Try again later."
        case _:
            return f"Rate limit exceeded for {name}"


def taken(entry: str, at: int, rule: Mapping[str, Any]) -> Taken:
    """What a call takes from the counter of a rule with a limit."""
    limit = rule["rate_limit"]
    if isinstance(limit, str):
        count, window = limit.split("/")
        limit = {"max": int(count), "window": window, "scope": "global"}
    length = SECONDS.get(limit["window"], limit["window"])
    return Taken(
        name_of(entry, at, rule),
        reason_of(entry, at, rule),
        int(limit["max"]),
        int(length),
        limit.get("scope", "session"),
    )


def quoted(name: str) -> str:
    """A name between quotes, escaped as in a JSON string; letters that can be seen stand as they are."""
    return '"' + "".join(char if _stands(char) else _escape(char) for char in name) + '"'


def _stands(char: str) -> bool:
    return char not in '"\\' and unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(char: str) -> str:
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
