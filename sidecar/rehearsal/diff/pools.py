"""For one tool the places that rules of two policies read, and for each of them what to put there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from sidecar.policy.model import Condition, CounterName, Rule, Value
from sidecar.policy.paths import EACH
from sidecar.rehearsal.diff import boundaries
from sidecar.rehearsal.diff.places import ABSENT, SOMEBODY, Choice, Leaf, Odd, Place, choice, place_of
from sidecar.rehearsal.diff.sides import Ruled

MOST: Final = 72
"""Choices of one place. What is left out is said."""
MOST_KEYS: Final = 8
"""Names of arguments that are tried because some `only` names them."""
_UNLISTED: Final = "unlisted"
_ODD: Final[tuple[Leaf, ...]] = (None, True, "x", Decimal(1), ("x",), {"x": Decimal(1)})
"""What is tried everywhere: some operator cannot judge it."""
_TEXTS_ONLY: Final = ("subject", "issuer")


@dataclass(frozen=True, slots=True)
class Pool:
    """What to put at one place; `left_out` says how many more values there were."""

    place: Place
    choices: tuple[Choice, ...]
    left_out: int = 0


def pools(
    old: Sequence[Ruled], new: Sequence[Ruled], beyond: Mapping[Place, Sequence[Value]] = MappingProxyType({})
) -> list[Pool]:
    """The pools for a tool with these rules under either policy; `beyond` has values for what other rules read."""
    proposed: dict[Place, list[Value]] = {}
    rules = [rule for _, rule in (*old, *new)]
    for rule in rules:
        for condition in rule.asked:
            _add(proposed, place_of(condition.subject), boundaries.proposed(condition))
            if condition.times is not None:
                _add(proposed, Place("args", condition.times), boundaries.proposed_factors(condition))
                _add(proposed, place_of(condition.subject), [Decimal(1), Decimal(2)])
        if rule.amount is not None:
            _add(proposed, Place("args", rule.amount.path), boundaries.proposed_amounts(rule))
            if rule.amount.times is not None:
                _add(proposed, Place("args", rule.amount.times), [Decimal(1), Decimal(2), Decimal(-1), "1"])
    permitted = [{name for _, rule in side for name in rule.only or ()} for side in (old, new)]
    for key in _keys(proposed, permitted[0], permitted[1], rules):
        proposed[Place("args", (key,))] = ["x"]
    if any(rule.counter is not None and rule.scope == "principal" for rule in rules):
        _add(proposed, Place("principal", ("subject",)), [SOMEBODY])
    for place, values in beyond.items():
        _add(proposed, place, values)
    joined = _joined(old), _joined(new)
    return [
        _pool(place, values, [text for side in joined for text in side.get(place, ())])
        for place, values in proposed.items()
    ]


def _joined(side: Sequence[Ruled]) -> dict[Place, list[str]]:
    """For each place that several conditions of one policy look at, texts that may meet them all."""
    about: dict[Place, list[Condition]] = {}
    for _, rule in side:
        for condition in rule.asked:
            about.setdefault(place_of(condition.subject), []).append(condition)
    return {place: boundaries.proposed_together(conditions) for place, conditions in about.items()}


def _add(proposed: dict[Place, list[Value]], place: Place, values: Iterable[Value]) -> None:
    proposed.setdefault(place, []).extend(values)


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


def _pool(place: Place, values: Sequence[Value], joined: Sequence[str]) -> Pool:
    every = list(dict.fromkeys(_choices(place, values)))
    beyond = [choice(text) for text in joined if place.root != "state"]
    return Pool(place, tuple(dict.fromkeys((*every[:MOST], *beyond))), max(0, len(every) - MOST))


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
