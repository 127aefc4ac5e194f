"""For one tool the places that rules of two policies read, and for each of them what to put there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice, zip_longest
from types import MappingProxyType
from typing import Final

from sidecar.policy.model import Condition, CounterName, Rule, Value
from sidecar.policy.paths import EACH
from sidecar.rehearsal.diff import boundaries
from sidecar.rehearsal.diff.places import ABSENT, SOMEBODY, Choice, Leaf, Odd, Place, choice, place_of
from sidecar.rehearsal.diff.sides import Ruled

MOST: Final = 72
"""Values of one place."""
MOST_APART: Final = 48
"""Of these, values that only one of the policies proposes. What is left out of them is said."""
MOST_KEYS: Final = 8
"""Names of arguments that are tried because some `only` names them."""
_UNLISTED: Final = "unlisted"
_ODD: Final[tuple[Leaf, ...]] = (None, True, "x", Decimal(1), ("x",), {"x": Decimal(1)})
"""What is tried everywhere: some operator cannot judge it."""
_TEXTS_ONLY: Final = ("subject", "issuer")


@dataclass(frozen=True, slots=True)
class Pool:
    """What to put at one place; `left_out` says how many more values only one of the policies proposed."""

    place: Place
    choices: tuple[Choice, ...]
    left_out: int = 0


def pools(
    old: Sequence[Ruled], new: Sequence[Ruled], beyond: Mapping[Place, Sequence[Value]] = MappingProxyType({})
) -> list[Pool]:
    """The pools for a tool with these rules under either policy; `beyond` has values for what other rules read."""
    rules = [rule for _, rule in (*old, *new)]
    numbers = _numbers(rules)
    sides = _proposed(old, numbers), _proposed(new, numbers)
    permitted = [{name for _, rule in side for name in rule.only or ()} for side in (old, new)]
    others: dict[Place, list[Value]] = {}
    for key in _keys([*sides[0], *sides[1]], permitted[0], permitted[1], rules):
        others[Place("args", (key,))] = ["x"]
    if any(rule.counter is not None and rule.scope == "principal" for rule in rules):
        others[Place("principal", ("subject",))] = [SOMEBODY]
    for place, values in beyond.items():
        others.setdefault(place, []).extend(values)
    joined = _joined(old), _joined(new)
    return [
        _pool(
            place, [side.get(place, []) for side in sides], others.get(place, ()),
            [text for side in joined for text in side.get(place, ())],
        )
        for place in dict.fromkeys((*sides[0], *sides[1], *others))
    ]  # fmt: skip


def _numbers(rules: Iterable[Rule]) -> dict[Place, list[Decimal]]:
    """The numbers with which conditions compare what stands at a place."""
    found: dict[Place, list[Decimal]] = {}
    for condition in (one for rule in rules for one in rule.asked if one.times is None):
        if isinstance(condition.value, Decimal):
            found.setdefault(place_of(condition.subject), []).append(condition.value)
    return found


def _proposed(side: Sequence[Ruled], numbers: Mapping[Place, Sequence[Decimal]]) -> dict[Place, list[list[Value]]]:
    """For each place that rules of one policy read, the values that each of their conditions proposes.

    Of a product a factor is proposed for each of the `numbers` that the other factor is compared with.
    """
    found: dict[Place, list[list[Value]]] = {}

    def add(place: Place, values: Iterable[Value]) -> None:
        found.setdefault(place, []).append(list(values))

    for _, rule in side:
        for condition in rule.asked:
            add(place_of(condition.subject), boundaries.proposed(condition))
            if condition.times is not None:
                add(Place("args", condition.times), boundaries.proposed_factors(condition))
                add(place_of(condition.subject), [Decimal(1), Decimal(2)])
                factors = place_of(condition.subject), Place("args", condition.times)
                for one, other in (factors, factors[::-1]):
                    add(one, boundaries.quotients(condition.value, numbers.get(other, ())))
        if rule.amount is not None:
            add(Place("args", rule.amount.path), boundaries.proposed_amounts(rule))
            if rule.amount.times is not None:
                add(Place("args", rule.amount.times), [Decimal(1), Decimal(2), Decimal(-1), "1"])
                most = rule.spend_limit.per_call if rule.spend_limit is not None else None
                amounts = Place("args", rule.amount.path), Place("args", rule.amount.times)
                for one, other in (amounts, amounts[::-1]):
                    add(one, boundaries.quotients(most, numbers.get(other, ())))
    return found


def _joined(side: Sequence[Ruled]) -> dict[Place, list[str]]:
    """For each place that several conditions of one policy look at, texts that may meet them all."""
    about: dict[Place, list[Condition]] = {}
    for _, rule in side:
        for condition in rule.asked:
            about.setdefault(place_of(condition.subject), []).append(condition)
    return {place: boundaries.proposed_together(conditions) for place, conditions in about.items()}


def _keys(proposed: Iterable[Place], old: set[str], new: set[str], rules: Sequence[Rule]) -> list[str]:
    """Names of arguments to try where some rule permits only some: first those that only one policy permits."""
    if all(rule.only is None for rule in rules):
        return []
    read = {place.path[0] for place in proposed if place.root == "args"}
    unlisted = next(name for name in _names() if name not in old | new | read)
    found = [*sorted(old ^ new), *sorted(old & new)]
    return [unlisted, *[name for name in found if name not in read][:MOST_KEYS]]


def _names() -> Iterator[str]:
    name = _UNLISTED
    while True:
        yield name
        name += "x"


def _pool(
    place: Place, sides: Sequence[Sequence[list[Value]]], others: Sequence[Value], joined: Sequence[str]
) -> Pool:  # fmt: skip
    """What both policies propose for a place: first what only one of them does, for there they may differ."""
    known = [{repr(value) for values in side for value in values} for side in sides]
    apart = [
        [value for value in values if repr(value) not in known[1 - at]]
        for at, side in enumerate(sides)
        for values in side
    ]
    first = list(_distinct(_in_turn(apart)))
    kept = first[:MOST_APART]
    rest = _in_turn([*(values for side in sides for values in side), others])
    values = list(islice(_distinct([*kept, *rest]), MOST))
    text = place.root != "state"
    every = dict.fromkeys((*_choices(place, values), *(choice(one) for one in joined if text)))
    return Pool(place, tuple(every), len(first) - len(kept))


def _distinct(values: Iterable[Value]) -> Iterator[Value]:
    yield from {repr(value): value for value in values}.values()


def _in_turn(lists: Sequence[Sequence[Value]]) -> Iterator[Value]:
    """The first of each list, then the second of each, to their ends."""
    for together in zip_longest(*lists, fillvalue=Odd.ABSENT):
        yield from (value for value in together if value is not Odd.ABSENT)


def _choices(place: Place, values: Sequence[Value]) -> Iterator[Choice]:
    if place.root == "state":
        numbers = [value for value in values if isinstance(value, Decimal) and value >= 0]
        yield from map(choice, [Decimal(0), *numbers])
        return
    yield ABSENT
    if _is_text(place):
        yield from (choice(value) for value in (*values, "x") if isinstance(value, str))
        return
    yield from map(choice, values)
    yield from map(choice, _ODD)
    if len(place.path) > 1:
        yield choice(Odd.BLOCKED)
    if EACH in place.path:
        yield choice()
        # One element that is all right and one that is not, whichever that is.
        for value in values[:_MIXED]:
            yield choice(values[0], value)
        yield choice(values[0], Odd.ABSENT)


_MIXED: Final = 8


def _is_text(place: Place) -> bool:
    """True where only texts can stand: what a token or a client says beside its claims."""
    return place.root in ("session", "workload") or (place.root == "principal" and place.path[0] in _TEXTS_ONLY)


def places_of(condition: Condition) -> list[Place]:
    """The places that a condition looks at: one, or two where it is about a product."""
    found = [place_of(condition.subject)]
    if condition.times is not None and Place("args", condition.times) not in found:
        found.append(Place("args", condition.times))
    return found


def counters_of(rule: Rule) -> list[CounterName]:
    """The counters that conditions of a rule read."""
    return [condition.subject for condition in rule.asked if isinstance(condition.subject, CounterName)]
