"""What to put where a condition looks: values on its boundary and just beside it, and what only looks like one.

Nothing here judges. It proposes values; whether a condition holds of them is asked from the engine.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import ROUND_DOWN, Context, Decimal
from typing import Final

from sidecar.policy import folders, hosts
from sidecar.policy.model import Condition, Rule, Value
from sidecar.policy.rego import plain_number
from sidecar.rehearsal.diff.matching_texts import texts

MOST_ITEMS: Final = 1_000
"""Items of one list that are proposed; of those that both policies have, few are tried."""
MOST_DIGITS: Final = 34
OF_TEXTS: Final = frozenset({"regex", "not_regex", "within", "host_in"})
"""Operators that judge texts only."""
MOST_TOGETHER: Final = 40
"""Texts that are joined for one place, under one policy."""
_JOINED: Final = 3
_TOLD_APART: Final = 6
_FEW_DIGITS: Final = Context(prec=12, rounding=ROUND_DOWN)
_WIDE: Final = Context(prec=400)
_MAX_PLAIN: Final = 40
"""Digits of numbers that are written out as text."""


def proposed(condition: Condition) -> list[Value]:
    """Values for the place of one condition."""
    found = list(_of(condition.op, condition.value))
    return [*found, *_as_text(found)] if condition.decimal_text else [*found, *_as_text(found[:1])]


def proposed_together(conditions: Sequence[Condition]) -> list[str]:
    """Texts for one place that several conditions look at: what meets one of them, followed by what meets another.

    A path that begins so and ends so is the usual case of it.
    """
    each = [meeting for meeting in dict.fromkeys(tuple(_meeting(one.op, one.value)) for one in conditions) if meeting]
    found: dict[str, None] = {}
    for several in (itertools.permutations(each, size) for size in range(min(len(each), _JOINED), 1, -1)):
        for first, *others in several:
            for text in first:
                found["".join((text, *(other[0] for other in others)))] = None
            for text in others[-1][1:]:
                found["".join((first[0], *(other[0] for other in others[:-1]), text))] = None
            if len(found) >= MOST_TOGETHER:
                break
    return [*found][:MOST_TOGETHER]


def _meeting(op: str, value: Value) -> Iterator[str]:
    """A few texts that one condition takes for its own, and that may go on."""
    match op:
        case "regex" if isinstance(value, str):
            yield from texts(value)[:_TOLD_APART]
        case "contains" if isinstance(value, str):
            yield value
        case "within" | "host_in":
            found = [one for one in (_paths if op == "within" else _urls)(value) if isinstance(one, str)]
            yield from found[1:_TOLD_APART] if op == "within" else found[:_TOLD_APART]


def proposed_factors(condition: Condition) -> list[Value]:
    """Values for the place of the other factor of a condition with `times`."""
    return [Decimal(1), Decimal(2), "1", Decimal("0.5")]


def proposed_amounts(rule: Rule) -> list[Value]:
    """Values for the place of the amount that a rule counts."""
    bounds = [bound.value for bound in (rule.bound,) if bound is not None and bound.value >= 0]
    if rule.spend_limit is not None and rule.spend_limit.per_call is not None:
        bounds.insert(0, rule.spend_limit.per_call)
    found: list[Value] = [Decimal(1), *(value for bound in bounds for value in beside(bound) if value >= 0)]
    found += [_digit(bound) for bound in bounds]
    found += [Decimal("0.01"), Decimal(0), Decimal(-1)]
    return [*found, *_as_text(found)] if rule.amount and rule.amount.decimal_text else [*found, "1"]


def quotients(product: Value, factors: Iterable[Decimal]) -> list[Value]:
    """What times one of the factors is a product, or as near to it as few digits come."""
    if not isinstance(product, Decimal):
        return []
    return [_FEW_DIGITS.divide(product, factor) for factor in factors if factor]


def beside(bound: Decimal) -> list[Decimal]:
    """A number, the nearest that are written with a digit more, and those one hundredth and one away."""
    steps = dict.fromkeys((Decimal(1), Decimal("0.01"), _digit(bound)))
    return [bound, *(_WIDE.add(bound, sign * step) for step in steps for sign in (1, -1))]


def _digit(bound: Decimal) -> Decimal:
    """One in the digit after the last of a number."""
    exponent = bound.as_tuple().exponent
    assert isinstance(exponent, int)
    return Decimal(1).scaleb(min(exponent, 0) - 1)


def _of(op: str, value: Value) -> Iterator[Value]:
    match op:
        case "lt" | "lte" | "gt" | "gte" if isinstance(value, Decimal):
            yield from beside(value)
        case "eq" | "neq":
            yield from _equals(value)
        case "in" | "not_in" if isinstance(value, tuple):
            if value:
                yield from _equals(value[0])
                yield from _equals(value[-1])
            yield from value[:MOST_ITEMS]
        case "regex" | "not_regex" if isinstance(value, str):
            yield from texts(value)
        case "contains" | "not_contains":
            yield from _containing(value)
        case "within":
            yield from _paths(value)
        case "host_in":
            yield from _urls(value)
        case _:
            yield "x"


def _equals(value: Value) -> Iterator[Value]:
    """A value, what is written alike, and what differs by little."""
    yield value
    match value:
        case bool():
            yield not value
            yield "true" if value else "false"
        case Decimal():
            yield from beside(value)[1:]
            double = Decimal(repr(float(value)))
            if double.is_finite() and double != value:
                yield double
        case str():
            yield value + "x"
            yield value.upper() if value != value.upper() else value.lower()
            yield "x" if value != "x" else "y"
            if number := _number(value):
                yield number
        case tuple():
            yield (*value, "x")
        case Mapping():
            yield {**value, "x": Decimal(1)}
        case None:
            yield "x"


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    return number if number.is_finite() and abs(number.adjusted()) < _MAX_PLAIN else None


def _containing(value: Value) -> Iterator[Value]:
    if isinstance(value, str):
        yield value
        yield f"x{value}x"
        yield value[:-1] if value else "x"
        yield value.upper() if value != value.upper() else value.lower()
    yield (value,)
    yield ("x", value)
    yield ("x",)
    yield ()


def _paths(value: Value) -> Iterator[Value]:
    try:
        found = folders.compiled(value)
    except ValueError:
        return
    for folder in found[:MOST_ITEMS]:
        top = folder.rstrip("/")
        yield folder
        yield f"{top}/x"
        yield f"{top}x"
        yield f"{top}/../x"
        yield f"{top}/x/../../{top.rpartition('/')[2]}x"
        yield f"{top.upper()}/x"
        if parent := top.rpartition("/")[0]:
            yield parent
        if folder is found[0]:
            yield from ("x", "/", "~/x")


def _urls(value: Value) -> Iterator[Value]:
    try:
        found = hosts.compiled(value)
    except ValueError:
        return
    for entry in found[:MOST_ITEMS]:
        assert isinstance(entry, Mapping)
        host, port = str(entry["host"]), entry["port"]
        own = f"x.{host}" if entry["below"] else host
        at = f":{plain_number(port)}" if isinstance(port, Decimal) else ":8444" if port == hosts.ANY_PORT else ""
        yield f"https://{own}{at}/"
        yield f"http://{own}{at}/"
        yield f"https://{own}:8443/"
        yield f"https://{own}/"
        yield f"https://{host}{at}/"
        yield f"https://y.{own}{at}/"
        yield f"https://x{host}{at}/"
        yield f"https://{own}{at}@x.test/"
    yield "https://x.test/"
    yield "x"


def _as_text(found: Sequence[Value]) -> list[Value]:
    return [plain_number(value) for value in found if type(value) is Decimal and len(plain_number(value)) < _MAX_PLAIN]
