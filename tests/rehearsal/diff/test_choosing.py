"""The search for choices: whatever it finds meets every clause, and it finds something where there is anything."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sidecar.rehearsal.diff.choosing import Demand, chosen, demand

PLACES = 4
CHOICES = 4


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    places = tuple(sorted(draw(st.sets(st.integers(0, PLACES - 1), min_size=1, max_size=2))))
    together = st.tuples(*(st.integers(0, CHOICES - 1) for _ in places))
    return demand(places, draw(st.sets(together, max_size=6)))


clauses = st.lists(st.lists(demands(), max_size=3), max_size=5)
domains = st.tuples(*(st.integers(0, (1 << CHOICES) - 1) for _ in range(PLACES)))


def meets(at: tuple[int, ...], one: Demand) -> bool:
    return tuple(at[place] for place in one.places) in one.met_by


@given(clauses, domains)
def test_a_choice_is_found_where_there_is_one(wanted: list[list[Demand]], left: tuple[int, ...]) -> None:
    every = itertools.product(*([at for at in range(CHOICES) if bits >> at & 1] for bits in left))
    good = {at for at in every if all(any(meets(at, one) for one in clause) for clause in wanted)}
    found = chosen(wanted, left)
    assert found in good if good else found is None
