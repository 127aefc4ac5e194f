"""The calls that show what a limit does: just before it and just beyond, in its window and after, by who counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from sidecar.policy.model import Condition, CounterName, Rule
from sidecar.rehearsal.diff.choosing import chosen, demand
from sidecar.rehearsal.diff.places import SOMEBODY, Choice, Place, choice
from sidecar.rehearsal.diff.probes import OTHER_SESSION, At, Before, Probe, counts, other, passing, put
from sidecar.rehearsal.diff.sides import Ruled, Side, said
from sidecar.rehearsal.diff.tables import AMOUNT, WHICH, Table, Which

_SUBJECT: Final = Place("principal", ("subject",))
SLICES: Final = 60
"""A sliding window is counted in so many slices, and one more."""


def limit_probes(table: Table, tables: Mapping[str, Table], sides: Mapping[Which, Side]) -> Iterator[Probe]:
    """Calls of one tool after others that counted, for every limit about it and every counter that a rule reads."""
    for which in WHICH:
        known = set(map(said, table.rules[other(which)]))
        for ruled in table.rules[which]:
            _, rule = ruled
            if rule.counter is not None and rule.bound is not None and not rule.denies:
                yield from _around(table, which, rule, rule.bound.value, moved=said(ruled) not in known)
            for condition in rule.asked:
                if isinstance(condition.subject, CounterName):
                    yield from _read(table, tables, sides, which, condition)
    yield from _among_tools(table, tables)


def _around(table: Table, which: Which, rule: Rule, bound: Decimal, *, moved: bool) -> Iterator[Probe]:
    """Calls that the limit of a rule just lets pass, and just does not; where it moved, by time and caller too."""
    found = _counting(table, which, rule, bound)
    if found is None:
        return
    at, amount = found
    same = put(table, at)
    fitting = int((bound / amount).to_integral_value(ROUND_FLOOR))
    small = _smallest(table, which, rule, at)
    for calls in dict.fromkeys((fitting, fitting - 1, fitting + 1)):
        if calls < 1:
            continue
        before = _before(table, at, rule, calls)
        yield Probe(table.tool, same, before)
        if small is not None:
            yield Probe(table.tool, put(table, small), before)
        if moved:
            for seconds, into in _times(rule):
                yield Probe(table.tool, same, replace(before, seconds=seconds, into=into))
            yield from _by_others(Probe(table.tool, same, before))


def _times(rule: Rule) -> list[tuple[int, int]]:
    """Seconds since the calls before, and how far into the window these came."""
    length = rule.window.seconds
    after = length + -(-length // SLICES) + 1
    return [(length - 1, 0), (length, 0), (1, length - 1), (after, 0)]


def _by_others(probe: Probe) -> Iterator[Probe]:
    """The same call from another session, and from another principal."""
    yield replace(probe, session=OTHER_SESSION)
    somebody = {**probe.put, _SUBJECT: choice(SOMEBODY)}
    another: dict[Place, Choice] = {**probe.put, _SUBJECT: choice(f"{SOMEBODY} else")}
    assert probe.before is not None
    before = replace(probe.before, put=somebody)
    for session in (probe.session, OTHER_SESSION):
        yield replace(probe, put=another, before=before, session=session)
    yield replace(probe, put=somebody, before=before, session=OTHER_SESSION)


def _before(table: Table, at: At, rule: Rule, calls: int) -> Before:
    return Before(table.tool, put(table, at), calls, 0, rule.window.seconds, 0, counts(table, at))


def _counting(table: Table, which: Which, rule: Rule, bound: Decimal) -> tuple[At, Decimal] | None:
    """A call that either policy lets pass and that counts: the most that fits in the bound, and how much that is."""
    for clauses in (passing(table, other(which)), passing(table, which), passing(table, which, unasked=False), []):
        if clauses is None:
            continue
        if rule.amount is None:
            at = chosen(clauses, table.domains)
            if at is not None:
                amount = table.amount(which, rule, at)
                return (at, amount) if amount else None
            continue
        row = table.rows[which, rule.id, AMOUNT]
        fitting = [(amount, together) for together, amount in row.amounts.items() if 0 < amount <= bound]
        for amount, together in sorted(fitting, reverse=True):
            at = chosen([*clauses, [demand(row.met.places, [together])]], table.domains)
            if at is not None:
                return at, amount
    return None


def _smallest(table: Table, which: Which, rule: Rule, at: At) -> At | None:
    """The same call with the smallest amount that counts; None where all count alike."""
    if rule.amount is None:
        return None
    row = table.rows[which, rule.id, AMOUNT]
    found = min(((amount, one) for one, amount in row.amounts.items() if amount > 0), default=None)
    if found is None:
        return None
    changed = dict(zip(row.met.places, found[1], strict=True))
    return tuple(changed.get(place, index) for place, index in enumerate(at))


def _read(
    table: Table, tables: Mapping[str, Table], sides: Mapping[Which, Side], which: Which, condition: Condition
) -> Iterator[Probe]:
    """Calls of this tool after calls of the one that counts what a condition of this one reads."""
    assert isinstance(condition.subject, CounterName)
    entry, rule = sides[which].counted[condition.subject]
    before = _counting_tool(table, tables, which, (entry, rule))
    clauses = passing(table, other(which)) or passing(table, which)
    if before is None or clauses is None or not isinstance(condition.value, Decimal):
        return
    zero = [[demand((at,), [(0,)])] for at, pool in enumerate(table.pools) if pool.place.root == "state"]
    this = chosen([*clauses, *zero], table.domains) or chosen(clauses, table.domains)
    at = chosen(passing(before, which) or [], before.domains)
    if this is None or at is None:
        return
    now = {place: one for place, one in put(table, this).items() if place.root != "state"}
    amount = before.amount(which, rule, at)
    if not amount:
        return
    whole = int((condition.value / amount).to_integral_value(ROUND_FLOOR))
    for calls in (whole, whole + 1, whole - 1):
        if calls > 0:
            earlier = _before(before, at, rule, calls)
            for seconds, into in ((0, 0), *_times(rule)):
                yield Probe(table.tool, now, replace(earlier, seconds=seconds, into=into))
            yield from _by_others(Probe(table.tool, now, earlier))


def _counting_tool(table: Table, tables: Mapping[str, Table], which: Which, ruled: Ruled) -> Table | None:
    """A tool whose calls a rule counts: this one where it does."""
    every: Sequence[Table] = (table, *tables.values())
    return next((one for one in every if any(rule.id == ruled[1].id for _, rule in one.rules[which])), None)


def _among_tools(table: Table, tables: Mapping[str, Table]) -> Iterator[Probe]:
    """Calls of this tool after calls of another that counts on the same counter: the entry is about both."""
    for which in WHICH:
        known = set(map(said, table.rules[other(which)]))
        for entry, rule in table.rules[which]:
            if rule.counter is None or rule.bound is None or rule.denies or said((entry, rule)) in known:
                continue
            shared = (
                one
                for name, one in tables.items()
                if name != table.tool and any(item[1].id == rule.id for item in one.rules[which])
            )
            beside = next(shared, None)
            own = _counting(table, which, rule, rule.bound.value)
            if beside is None or own is None:
                continue
            found = _counting(beside, which, rule, rule.bound.value)
            if found is not None:
                calls = max(1, int((rule.bound.value / found[1]).to_integral_value(ROUND_FLOOR)))
                yield Probe(table.tool, put(table, own[0]), _before(beside, found[0], rule, calls))
