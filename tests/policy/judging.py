"""What a condition says of a call: where its path leads, what its operator sees there, and what it cannot judge.

An operator has three answers: it holds, it does not, or it cannot tell. What it cannot tell is not met in `evaluate`
and met in `deny` and `require_approval`, so that it works for safety in each.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, Final, TypeAlias

from tests.policy.texts import MOST_DIGITS, decimal_of, is_host_of, lies_within, significant

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
    "(?i)drop|delete": "[dD][rR][oO][pP]|[dD][eE][lL][eE][tT][eE]",
    "^/etc/": r"\A/etc/",
}
"""Patterns of RE2 and what they are called in Python, where `$`, `.`, `\\d` and `\\w` have other meanings."""

EXACT: Final = Context(prec=1200, Emin=-9999, Emax=9999, traps=[Inexact])
"""For products: two numbers of a message have no more digits together."""

# Paths.

EACH: Final = None
"""The step `[*]`."""
Step: TypeAlias = str | None


class Way(enum.Enum):
    """What stands where a path, or a product of two, leads to no value."""

    MISSING = "the path does not exist"
    BLOCKED = "something is in the way that is no object, or no list"
    NO_NUMBER = "a product that is no number"


Leaf: TypeAlias = "Json | Way"
"""What a path ends at."""


@dataclass(frozen=True, slots=True)
class Known:
    """All that a decision may depend on: the arguments, the totals by the paths that read them, and who asks.

    `caller` has the documents `principal`, `session` and `workload`, as far as they are known.
    """

    arguments: dict[str, Json]
    totals: Mapping[str, Decimal] = field(default_factory=dict)
    caller: Mapping[str, Json] = field(default_factory=dict)

    def leaves(self, path: str) -> list[Leaf]:
        """All that a path ends at: one thing, but for `[*]`."""
        if path.startswith("state."):
            return [self.totals[path]]
        root = root_of(path)
        document: Leaf = self.arguments if root == "args" else self.caller.get(root, Way.MISSING)
        return leaves(document, steps(path))

    def factors(self, path: str, times: str) -> list[tuple[Leaf, Leaf]]:
        """What stands at one path with what stands at the other; element by element in a list that both walk."""
        one, other = steps(path), steps(times)
        if EACH not in one or EACH not in other:
            return [(a, b) for a in leaves(self.arguments, one) for b in leaves(self.arguments, other)]
        shared = last_each(one)
        return [
            (a, b)
            for element in leaves(self.arguments, one[:shared])
            for a in leaves(element, one[shared:])
            for b in leaves(element, other[shared:])
        ]


def root_of(path: str) -> str:
    """The first word of a path."""
    found = re.match("[a-z]+", path)
    assert found
    return found[0]


def steps(path: str) -> list[Step]:
    """`args.a["b.c"][*]` is `a`, `b.c` and EACH."""
    found: list[Step] = []
    rest = path[len(root_of(path)) :]
    while rest:
        if rest.startswith("[*]"):
            step, rest = EACH, rest[3:]
        elif rest.startswith('["'):
            step, end = json.JSONDecoder().raw_decode(rest, 1)
            assert rest[end] == "]"
            rest = rest[end + 1 :]
        else:
            assert rest[0] == "."
            end = min(at for sign in ".[" if (at := (rest + sign).index(sign, 1)))
            step, rest = rest[1:end], rest[end:]
        found.append(step)
    return found


def last_each(path: Sequence[Step]) -> int:
    """How many steps there are up to the last `[*]`, itself included."""
    return max(at for at, step in enumerate(path, 1) if step is EACH)


def leaves(value: Leaf, path: Sequence[Step]) -> list[Leaf]:
    """All that a path ends at below a value."""
    if not path or isinstance(value, Way):
        return [value]
    step, rest = path[0], path[1:]
    if value is None:
        return [Way.MISSING]
    if step is EACH:
        return [leaf for item in value for leaf in leaves(item, rest)] if isinstance(value, list) else [Way.BLOCKED]
    if not isinstance(value, dict):
        return [Way.BLOCKED]
    return leaves(value[step], rest) if step in value else [Way.MISSING]


def product(one: Leaf, other: Leaf, decimal_text: bool) -> Leaf:
    """One factor times another."""
    if Way.BLOCKED in (one, other):
        return Way.BLOCKED
    if one is Way.MISSING and other is Way.MISSING:
        return Way.MISSING
    factors = [number_in(each, decimal_text) for each in (one, other)]
    if not isinstance(factors[0], Decimal) or not isinstance(factors[1], Decimal):
        return Way.NO_NUMBER
    made = EXACT.multiply(factors[0], factors[1])
    return made if significant(made) <= MOST_DIGITS else Way.NO_NUMBER


def number_in(value: Leaf, decimal_text: bool) -> Leaf:
    """The value, but with `decimal_text` a text is the number that it writes, or cannot be judged."""
    if decimal_text and isinstance(value, str):
        number = decimal_of(value)
        return Way.NO_NUMBER if number is None else number
    return value


# Amounts.


def amount(known: Known, block: Mapping[str, Any], path: str) -> Decimal | None:
    """The amount at a path, the sum where there are several; None when it cannot be counted."""
    decimal_text = block.get("decimal_text", False)
    if "times" in block:
        factors = known.factors(path, block["times"])
        if any(is_negative(factor, decimal_text) for pair in factors for factor in pair):
            return None
        found = [product(*pair, decimal_text) for pair in factors]
    else:
        found = [number_in(leaf, decimal_text) for leaf in known.leaves(path)]
    total = Decimal(0)
    for leaf in found:
        if not isinstance(leaf, Decimal) or not is_countable(leaf):
            return None
        total = EXACT.add(total, leaf)
    return total if is_countable(total) else None


def is_negative(leaf: Leaf, decimal_text: bool) -> bool:
    """True for a number below 0."""
    number = number_in(leaf, decimal_text)
    return isinstance(number, Decimal) and number < 0


def is_countable(number: Decimal) -> bool:
    """True for a number that a counter can take."""
    if number == 0:
        return True
    return significant(number) <= MOST_DIGITS and Decimal("1e-30") <= number < Decimal("1e31")


# Conditions.

Condition: TypeAlias = Mapping[str, Any]


def holds(condition: Condition, known: Known) -> bool:
    """True when a condition of `evaluate` is met for certain."""
    through_lists = not condition["path"].startswith("state.") and EACH in steps(condition["path"])
    return all(_is_met(condition, leaf, through_lists) for leaf in _leaves(condition, known))


def _is_met(condition: Condition, leaf: Leaf, through_lists: bool) -> bool:
    forbidden = condition["op"] == "exists" and condition["value"] is False
    if leaf is Way.MISSING or (leaf is None and condition.get("optional")):
        return forbidden or bool(condition.get("optional"))
    if leaf is Way.BLOCKED:
        return forbidden and not through_lists
    return not isinstance(leaf, Way) and judged(condition, leaf, strict=True) is True


def may_hold(condition: Condition, known: Known) -> bool:
    """True when a condition of `deny` or `require_approval` is met, or cannot be judged, somewhere."""
    return any(_may_be_met(condition, leaf) for leaf in _leaves(condition, known))


def _may_be_met(condition: Condition, leaf: Leaf) -> bool:
    if leaf is Way.MISSING:
        return condition["op"] == "exists" and condition["value"] is False
    return isinstance(leaf, Way) or judged(condition, leaf, strict=False) is not False


def _leaves(condition: Condition, known: Known) -> list[Leaf]:
    decimal_text = condition.get("decimal_text", False)
    if "times" in condition:
        return [product(*pair, decimal_text) for pair in known.factors(condition["path"], condition["times"])]
    return [number_in(leaf, decimal_text) for leaf in known.leaves(condition["path"])]


def judged(condition: Condition, found: Json, *, strict: bool) -> bool | None:
    """Whether the operator holds of a value that is there; None when it cannot tell.

    A server may read a number as a double. What is equal only so is neither equal nor different when we are `strict`,
    as `evaluate` is, and otherwise both.
    """
    op, wanted = condition["op"], condition["value"]
    if condition.get("decimal_text"):
        wanted = [_as_number(item) for item in wanted] if isinstance(wanted, list) else _as_number(wanted)
    if op == "exists":
        return (found is not None) is wanted
    same: Callable[[Json, Json], bool] = equal if strict else alike
    other: Callable[[Json, Json], bool] = alike if strict else equal
    match op:
        case "eq":
            return same(found, wanted)
        case "neq":
            return not other(found, wanted)
        case "in":
            return any(same(found, item) for item in wanted)
        case "not_in":
            return not any(other(found, item) for item in wanted)
    if found is None:
        return False
    match op:
        case "lt" | "lte" | "gt" | "gte":
            return compares(op, found, wanted) if isinstance(found, Decimal) else None
        case "regex":
            return matches(found, wanted) if isinstance(found, str) else None
        case "not_regex":
            return not matches(found, wanted) if isinstance(found, str) else None
        case "contains":
            return contains(found, wanted, same)
        case "not_contains":
            there = contains(found, wanted, other)
            return None if there is None else not there
        case "within":
            return lies_within(found, wanted) if isinstance(found, str) else None
        case "host_in":
            return is_host_of(found, wanted) if isinstance(found, str) else None
    raise ValueError(op)


def _as_number(wanted: Json) -> Json:
    """What a policy compares with, where text of a call counts as the number that it writes."""
    number = decimal_of(wanted) if isinstance(wanted, str) else None
    return wanted if number is None else number


def compares(op: str, found: Decimal, wanted: Decimal) -> bool:
    """Compare two numbers exactly."""
    match op:
        case "lt":
            return found < wanted
        case "lte":
            return found <= wanted
        case "gt":
            return found > wanted
        case _:
            return found >= wanted


def matches(text: str, pattern: str) -> bool:
    """True when a pattern matches anywhere in a text."""
    return re.search(PATTERNS[pattern], text) is not None


def contains(found: Json, wanted: Json, equals: Callable[[Json, Json], bool]) -> bool | None:
    """A text holds a text, or a list has an element that is equal; None for anything else."""
    if isinstance(found, list):
        return any(equals(item, wanted) for item in found)
    return wanted in found if isinstance(found, str) and isinstance(wanted, str) else None


# Equality.


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
