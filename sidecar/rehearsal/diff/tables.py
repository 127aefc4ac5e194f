"""For each tool what meets each condition of each rule, of both policies: the ground that calls are searched on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Final, Literal, TypeAlias

from sidecar.policy.model import Rule, Value
from sidecar.rehearsal.diff import holding
from sidecar.rehearsal.diff.choosing import Demand, Domains, demand
from sidecar.rehearsal.diff.holding import Asked
from sidecar.rehearsal.diff.places import Place
from sidecar.rehearsal.diff.pools import Pool, places_of, pools
from sidecar.rehearsal.diff.sides import Ruled, Side

Which: TypeAlias = Literal["old", "new"]
WHICH: Final[tuple[Which, ...]] = ("old", "new")
MOST_PAIRS: Final = 400
"""Choices of two places together that are looked at for one condition about their product."""

Key: TypeAlias = tuple[Which, str, int]
"""A condition: of which policy, of which rule by its id, at which position."""
AMOUNT: Final = -1
"""The position that stands for: there is an amount that can be counted."""
Together: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One condition of one rule: what meets it and what does not, at its places. `amounts` where it is an amount.

    Of a rule that denies or asks, what cannot be judged meets it too.
    """

    met: Demand
    unmet: Demand
    amounts: Mapping[Together, Decimal] = field(default_factory=dict)

    @property
    def is_explored(self) -> bool:
        """True where there is something that meets it, and something that does not."""
        return bool(self.met.met_by and self.unmet.met_by)


@dataclass(frozen=True, slots=True)
class Table:
    """A tool with its places, what to put there, and what that does to each condition."""

    tool: str
    pools: tuple[Pool, ...]
    rules: Mapping[Which, tuple[Ruled, ...]]
    rows: Mapping[Key, Row]

    @property
    def domains(self) -> Domains:
        """All choices of all places."""
        return tuple((1 << len(pool.choices)) - 1 for pool in self.pools)

    def put(self, at: Sequence[int]) -> dict[Place, int]:
        """A choice for each place."""
        return {pool.place: index for pool, index in zip(self.pools, at, strict=True)}

    def amount(self, which: Which, rule: Rule, at: Sequence[int]) -> Decimal | None:
        """What a call counts on the counter of a rule."""
        if rule.amount is None:
            return rule.state.increment if rule.state else Decimal(1)
        row = self.rows[which, rule.id, AMOUNT]
        return row.amounts.get(tuple(at[place] for place in row.met.places))


def positions(rule: Rule) -> Iterator[tuple[int, tuple[Place, ...]]]:
    """The positions at which the engine shows something of a rule that depends on few places, and these places."""
    evaluates = rule.action == "evaluate"
    if rule.action != "allow":
        for at, condition in enumerate(rule.asked):
            yield at, tuple(places_of(condition))
    if rule.spend_limit is not None and rule.spend_limit.per_call is not None:
        before = (len(rule.asked) if evaluates else 0) + (rule.only is not None)
        yield before, _amount_places(rule)
    if rule.amount is not None:
        yield AMOUNT, _amount_places(rule)


def _amount_places(rule: Rule) -> tuple[Place, ...]:
    assert rule.amount is not None
    paths = (rule.amount.path, rule.amount.times)
    return tuple(dict.fromkeys(Place("args", path) for path in paths if path is not None))


def tables(
    opa: Path, old: Side, new: Side, names: Iterable[str], beyond: Mapping[Place, Sequence[Value]]
) -> list[Table]:
    """The tables of tools: what meets each condition is asked from the engine, for all of them together.

    `beyond` has values for the places that hand-written Rego reads.
    """
    made = []
    questions: dict[tuple[Which, bool], list[tuple[Asked, _Cell]]] = {
        (which, amounts): [] for which in WHICH for amounts in (False, True)
    }
    for tool in names:
        rules: dict[Which, tuple[Ruled, ...]] = {"old": tuple(old.rules(tool)), "new": tuple(new.rules(tool))}
        found = tuple(pools(rules["old"], rules["new"], beyond))
        cells = list(_cells(rules, found))
        for cell in cells:
            for together in cell.every(found):
                questions[cell.key[0], cell.key[2] == AMOUNT].append((cell.asked(found, together), cell))
        made.append((tool, rules, found, cells))
    _answer(opa, {"old": old, "new": new}, questions)
    return [Table(tool, found, rules, {cell.key: cell.row() for cell in cells}) for tool, rules, found, cells in made]


@dataclass(slots=True)
class _Cell:
    """A condition while it is asked about."""

    key: Key
    places: tuple[int, ...]
    shows_unmet: bool
    asked_about: list[Together] = field(default_factory=list)
    shown: list[bool] = field(default_factory=list)
    amounts: dict[Together, Decimal] = field(default_factory=dict)

    def every(self, found: Sequence[Pool]) -> list[Together]:
        sizes = [len(found[place].choices) for place in self.places]
        every = sorted(itertools.product(*map(range, sizes)), key=lambda together: (sum(together), together))
        self.asked_about = every if len(sizes) == 1 else every[:MOST_PAIRS]
        return self.asked_about

    def asked(self, found: Sequence[Pool], together: Together) -> Asked:
        put = {found[place].place: found[place].choices[at] for place, at in zip(self.places, together, strict=True)}
        return Asked(self.key[1], self.key[2], put)

    def row(self) -> Row:
        met = [one for one, shown in zip(self.asked_about, self.shown, strict=True) if shown is not self.shows_unmet]
        unmet = [one for one, shown in zip(self.asked_about, self.shown, strict=True) if shown is self.shows_unmet]
        return Row(demand(self.places, met), demand(self.places, unmet), self.amounts)


def _cells(rules: Mapping[Which, Sequence[Ruled]], found: Sequence[Pool]) -> Iterator[_Cell]:
    index = {pool.place: at for at, pool in enumerate(found)}
    for which in WHICH:
        for _, rule in rules[which]:
            for at, places in positions(rule):
                asks = rule.action in ("deny", "require_approval") and at != AMOUNT
                yield _Cell((which, rule.id, at), tuple(index[place] for place in places), asks)


def _answer(
    opa: Path, sides: Mapping[Which, Side], questions: Mapping[tuple[Which, bool], Sequence[tuple[Asked, _Cell]]]
) -> None:
    for (which, amounts), asked in questions.items():
        side = sides[which]
        if not asked:
            continue
        if not amounts:
            found = holding.shown(opa, side.bundle, side.policy, [one for one, _ in asked])
            for (_, cell), shown in zip(asked, found, strict=True):
                cell.shown.append(shown)
        else:
            counted = holding.amounts(opa, side.bundle, [one for one, _ in asked])
            for (_, cell), amount in zip(asked, counted, strict=True):
                if amount is not None:
                    cell.amounts[cell.asked_about[len(cell.shown)]] = amount
                cell.shown.append(amount is not None)
