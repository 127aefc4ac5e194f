"""Chooses what stands at each place so that demands are met: a small search over clauses. It knows no policy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

STEPS: Final = 2_000
"""Steps of one search; then it is given up."""


@dataclass(frozen=True, slots=True)
class Demand:
    """What one or two places must have: the positions of choices that will do, together where they are two."""

    places: tuple[int, ...]
    met_by: tuple[tuple[int, ...], ...]
    mask: int
    """The choices that will do as bits, where it is about one place."""


def demand(places: tuple[int, ...], met_by: Iterable[tuple[int, ...]]) -> Demand:
    """A demand that any of these choices meets."""
    found = tuple(sorted(met_by))
    return Demand(places, found, sum(1 << at for (at,) in found) if len(places) == 1 else 0)


Clause: TypeAlias = Sequence[Demand]
"""One of these demands must be met."""
Domains: TypeAlias = tuple[int, ...]
"""For each place the choices that are left, as bits."""


def chosen(clauses: Sequence[Clause], domains: Domains) -> tuple[int, ...] | None:
    """A choice for each place that meets every clause, the earliest that will do; None where none was found."""
    open_clauses: list[Clause] = []
    left = list(domains)
    for clause in clauses:
        if len(clause) == 1 and len(clause[0].places) == 1:
            left[clause[0].places[0]] &= clause[0].mask
        else:
            open_clauses.append(clause)
    for found in _narrowed(sorted(open_clauses, key=len), tuple(left), [STEPS]):
        return tuple((bits & -bits).bit_length() - 1 for bits in found)
    return None


def only(domains: Domains, place: int, at: int) -> Domains:
    """The domains where one place has one choice; it may be none that was left."""
    return (*domains[:place], domains[place] & (1 << at), *domains[place + 1 :])


def _narrowed(clauses: Sequence[Clause], domains: Domains, budget: list[int]) -> Iterator[Domains]:
    if not all(domains):
        return
    if not clauses:
        yield domains
        return
    for one in clauses[0]:
        for narrower in _meeting(one, domains):
            budget[0] -= 1
            if budget[0] < 0:
                return
            yield from _narrowed(clauses[1:], narrower, budget)


def _meeting(one: Demand, domains: Domains) -> Iterator[Domains]:
    if len(one.places) == 1:
        place = one.places[0]
        if left := domains[place] & one.mask:
            yield (*domains[:place], left, *domains[place + 1 :])
        return
    first, second = one.places
    for at, beside in one.met_by:
        if domains[first] >> at & 1 and domains[second] >> beside & 1:
            yield only(only(domains, first, at), second, beside)
