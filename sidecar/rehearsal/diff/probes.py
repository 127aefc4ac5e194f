"""The calls that are worth judging under two policies: at the boundary of each condition, and past all others."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final, TypeAlias

from sidecar.policy.model import Rule
from sidecar.rehearsal.diff.choosing import Clause, Demand, chosen, demand
from sidecar.rehearsal.diff.places import Choice, Place
from sidecar.rehearsal.diff.sides import said
from sidecar.rehearsal.diff.tables import AMOUNT, WHICH, Row, Table, Which, positions

SESSION: Final = "session-1"
OTHER_SESSION: Final = "session-2"
At: TypeAlias = tuple[int, ...]
"""A choice for each place of a table, by its position."""


@dataclass(frozen=True, slots=True)
class Before:
    """What came before a call: the same one, or one of another tool, so many times, so many seconds ago.

    `counted` is what each counts on the counters of each policy, by the rule's id. `into` are seconds into `window`, at
    which these calls came.
    """

    tool: str
    put: Mapping[Place, Choice]
    calls: int
    seconds: int
    window: int
    into: int
    counted: Mapping[tuple[Which, str], Decimal]
    session: str = SESSION


@dataclass(frozen=True, slots=True)
class Probe:
    """One call to judge under both policies."""

    tool: str
    put: Mapping[Place, Choice]
    before: Before | None = None
    session: str = SESSION


def put(table: Table, at: At) -> dict[Place, Choice]:
    """What a call has at each place of a table; what it has not is left out."""
    found = {pool.place: pool.choices[index] for pool, index in zip(table.pools, at, strict=True)}
    return {place: chosen for place, chosen in found.items() if not chosen.is_absent}


def other(which: Which) -> Which:
    """The other policy."""
    return "new" if which == "old" else "old"


def passing(table: Table, which: Which, *, unasked: bool = True) -> list[Clause] | None:
    """What a call needs so that no rule of one policy refuses it; None where no call can.

    Where it is to be `unasked`, it needs no person either.
    """
    clauses: list[Clause] = []
    for _, rule in table.rules[which]:
        if rule.monitor:
            continue
        if rule.denies or (unasked and rule.always_asks):
            return None
        if rule.action == "deny" or (rule.action == "require_approval" and unasked):
            clauses.append([row.unmet for row in rows_asked(table, which, rule)])
            rows = _rows(table, which, rule)[len(rule.asked) :]
        elif rule.action == "require_approval":
            rows = _rows(table, which, rule)[len(rule.asked) :]
        else:
            rows = _rows(table, which, rule)
        clauses += ([row.met] for row in rows)
        if rule.only is not None:
            clauses += ([_key(table, place, given=False)] for place in _beyond(table, rule))
    return clauses


def stopping(table: Table, which: Which, rule: Rule) -> Iterator[list[Clause]]:
    """The ways in which one rule refuses a call, or asks about it: each as demands that hold together."""
    conditions = rows_asked(table, which, rule)
    if rule.denies or rule.always_asks:
        yield []
    elif rule.action in ("deny", "require_approval"):
        every: list[Clause] = [[row.met] for row in conditions]
        yield every
        for at, row in enumerate(conditions):
            for together in row.met.met_by:
                yield [*every[:at], [demand(row.met.places, [together])], *every[at + 1 :]]
    else:
        yield from _each_unmet(conditions)
    yield from _each_unmet([row for row in _rows(table, which, rule) if row not in conditions])
    for place in _beyond(table, rule):
        yield [[_key(table, place, given=True)]]


def _each_unmet(rows: Iterable[Row]) -> Iterator[list[Clause]]:
    for row in rows:
        for together in row.unmet.met_by:
            yield [[demand(row.unmet.places, [together])]]


def _rows(table: Table, which: Which, rule: Rule) -> list[Row]:
    return [table.rows[which, rule.id, at] for at, _ in positions(rule)]


def rows_asked(table: Table, which: Which, rule: Rule) -> list[Row]:
    """What meets each condition of a rule."""
    if rule.action == "allow":
        return []
    return [table.rows[which, rule.id, at] for at in range(len(rule.asked))]


def _beyond(table: Table, rule: Rule) -> list[int]:
    """The places below names of arguments that a rule does not permit."""
    if rule.only is None:
        return []
    return [
        at for at, pool in enumerate(table.pools) if pool.place.root == "args" and pool.place.path[0] not in rule.only
    ]


def _key(table: Table, place: int, *, given: bool) -> Demand:
    choices = table.pools[place].choices
    return demand((place,), [(at,) for at, one in enumerate(choices) if one.is_absent is not given])


def bases(table: Table) -> list[At]:
    """Calls that pass everything, of either policy, without a person where there is such a one."""
    found = []
    for which in ("new", "old"):
        for unasked in (True, False):
            clauses = passing(table, which, unasked=unasked)
            at = chosen(clauses, table.domains) if clauses is not None else None
            if at is not None:
                found.append(at)
                break
    return list(dict.fromkeys(found)) or [tuple(0 for _ in table.pools)]


def calls(table: Table, most: int) -> list[At]:
    """Calls to judge, those that are most likely to differ first; up to `most` of them."""
    found = dict.fromkeys(itertools.islice(_calls(table), most))
    return list(found)


def _calls(table: Table) -> Iterator[At]:
    starts = bases(table)
    yield from starts
    aimed: dict[bool, list[Iterator[At]]] = {True: [], False: []}
    for which in WHICH:
        known = set(map(said, table.rules[other(which)]))
        for ruled in table.rules[which]:
            aimed[said(ruled) in known].append(_aimed(table, which, ruled[1]))
    first = list(itertools.islice(_in_turn(aimed[False]), _FIRST))  # what only one of the policies says
    yield from first
    yield from _in_turn([_beyond_rules(table, at) for at in (*starts, *first)])
    yield from _in_turn(aimed[False])
    yield from _in_turn([*(_varied(table, base) for base in starts), *aimed[True]])
    yield from _in_pairs(table, starts[0])


def _in_turn(ways: Sequence[Iterator[At]]) -> Iterator[At]:
    """From each of several in turn, without those that came before."""
    seen: set[At] = set()
    left = list(ways)
    while left:
        for way in list(left):
            at = next((found for found in way if found not in seen), None)
            if at is None:
                left.remove(way)
            else:
                seen.add(at)
                yield at


def _aimed(table: Table, which: Which, rule: Rule) -> Iterator[At]:
    """Calls that one rule of a policy stops and the other policy lets pass; where there are none, its own others do."""
    beyond = [passing(table, other(which), unasked=unasked) for unasked in (True, False)]
    own = _without(table, which, rule)
    for way in stopping(table, which, rule):
        for others in (*beyond, own):
            if others is None:
                continue
            at = chosen([*way, *others], table.domains)
            if at is not None:
                yield at
                break


def _without(table: Table, which: Which, rule: Rule) -> list[Clause] | None:
    rules = tuple(item for item in table.rules[which] if item[1].id != rule.id)
    return passing(replace(table, rules={**table.rules, which: rules}), which, unasked=False)


def _varied(table: Table, base: At) -> Iterator[At]:
    """A call with one other choice at one place."""
    for place, pool in enumerate(table.pools):
        for at in range(len(pool.choices)):
            yield (*base[:place], at, *base[place + 1 :])


def _beyond_rules(table: Table, base: At) -> Iterator[At]:
    """A call with something else where no rule of a file looks: hand-written Rego does."""
    ruled = {place for row in table.rows.values() for place in row.met.places}
    for place, pool in enumerate(table.pools):
        if place not in ruled:
            for at in range(1, min(len(pool.choices), _FROM_REGO)):
                yield (*base[:place], at, *base[place + 1 :])


_FIRST: Final = 24
_FROM_REGO: Final = 30


def _in_pairs(table: Table, base: At) -> Iterator[At]:
    """A call with other choices at two places that one rule looks at."""
    seen: set[tuple[int, int]] = set()
    for which in WHICH:
        for _, rule in table.rules[which]:
            places = sorted({place for row in _rows(table, which, rule) for place in row.met.places})
            for pair in itertools.combinations(places, 2):
                if pair not in seen:
                    seen.add(pair)
                    sizes = [range(min(len(table.pools[place].choices), _PAIRED)) for place in pair]
                    for one, two in itertools.product(*sizes):
                        changed = dict(zip(pair, (one, two), strict=True))
                        yield tuple(changed.get(place, at) for place, at in enumerate(base))


_PAIRED: Final = 6


def counts(table: Table, at: At) -> dict[tuple[Which, str], Decimal]:
    """What a call counts on the counter of each rule, where it counts."""
    return {
        (which, rule.id): amount
        for which in WHICH
        for _, rule in table.rules[which]
        if rule.counter is not None and (amount := table.amount(which, rule, at)) is not None and amount > 0
    }


def unexplored(table: Table) -> dict[tuple[Which, str], tuple[int, int]]:
    """For each rule with conditions that were not met both ways: how many of them, of how many."""
    found = {}
    for which in WHICH:
        for _, rule in table.rules[which]:
            rows = [table.rows[which, rule.id, at] for at, _ in positions(rule) if at != AMOUNT]
            blind = sum(not row.is_explored for row in rows)
            if blind:
                found[which, rule.id] = (blind, len(rows))
    return found
