"""The ledger against a model: whatever is claimed, given back, and however much time passes, they agree."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from sidecar.ledger.protocol import Claim, Claimed, Exhausted, Moved
from sidecar.ledger.values import Counter, Entry, Reservation, Seen, window_start
from tests.ledger.stores import NOON, Clock, Store, claim

AMOUNTS = st.sampled_from([0, 1, 1, 1, 2, 5, Decimal("0.1"), Decimal("2.50"), Decimal("1e-30"), 2**64, 10**33])
LIMITS = st.sampled_from([None, 0, 1, 2, 3, 10, Decimal("0.3"), Decimal("7.7"), 2**65, 10**34])
COUNTERS, HOLDERS, WINDOWS = st.sampled_from("ab"), st.sampled_from(["", "s"]), st.sampled_from([7, 60, 3600])
SEEN = st.builds(Seen, st.builds(Counter, COUNTERS, HOLDERS, WINDOWS), st.sampled_from([0, 0, 1, 2, Decimal("0.1")]))
RESERVATIONS = st.builds(Reservation, COUNTERS, HOLDERS, WINDOWS, AMOUNTS, LIMITS, st.booleans())


class LedgerAndModel(RuleBasedStateMachine):
    """Two ledgers on one store, used in turn, and a dictionary of fractions that knows nothing of stores."""

    claimed = Bundle("claimed")

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.clock = Clock(NOON)
        self.ledgers = [store.ledger(self.clock), store.ledger(self.clock)]
        self.runner = asyncio.Runner()
        self.totals: defaultdict[tuple[str, str, int, int], Fraction] = defaultdict(Fraction)

    def teardown(self) -> None:
        for ledger in self.ledgers:
            self.runner.run(ledger.close())
        self.runner.close()

    def key(self, one: Reservation | Counter) -> tuple[str, str, int, int]:
        """The counter in its window of now."""
        return one.counter, one.holder, one.window, window_start(self.clock.now, one.window)

    def expected(self, wanted: list[Reservation]) -> int | list[Fraction]:
        """The position that refuses, or where each counter stands; then the totals are the new ones."""
        totals, after = self.totals.copy(), []
        for position, one in enumerate(wanted):
            totals[self.key(one)] += Fraction(one.amount)
            total = totals[self.key(one)]
            if one.limit is not None and (total > one.limit or (one.exclusive and total == one.limit)):
                return position
            after.append(total)
        self.totals = totals
        return after

    def stand(self, seen: list[Seen]) -> bool:
        """Whether all stand where they were seen."""
        return all(self.totals[self.key(one.counter)] == Fraction(one.total) for one in seen)

    @rule(
        target=claimed, wanted=st.lists(RESERVATIONS, max_size=4), seen=st.lists(SEEN, max_size=2),
        which=st.integers(0, 1), wait=st.booleans(),
    )  # fmt: skip
    def claim(self, wanted: list[Reservation], seen: list[Seen], which: int, wait: bool) -> object:
        ledger = self.ledgers[which]
        result: Claimed = self.runner.run(
            ledger.claim(tuple(wanted), tuple(seen)) if wait else claim(ledger, *wanted, seen=tuple(seen))
        )
        match result, self.expected(wanted) if self.stand(seen) else None:
            case Moved(), None:
                return multiple()
            case Claim(entries, totals), list(expected):
                assert [Fraction(total) for total in totals] == expected
                return entries
            case Exhausted(position, seconds), int(expected_position):
                assert position == expected_position
                assert 1 <= seconds <= wanted[position].window
                return multiple()
            case differ:
                raise AssertionError(differ)

    @rule(entries=consumes(claimed), which=st.integers(0, 1), kept=st.integers(0, 2))
    def give_back(self, entries: tuple[Entry, ...], which: int, kept: int) -> None:
        self.runner.run(self.ledgers[which].give_back(entries[kept:]))
        for entry in entries[kept:]:
            one = entry.reservation
            self.totals[one.counter, one.holder, one.window, entry.start] -= Fraction(one.amount)

    @rule(counters=st.lists(st.builds(Counter, COUNTERS, HOLDERS, WINDOWS), max_size=3), which=st.integers(0, 1))
    def look(self, counters: list[Counter], which: int) -> None:
        totals = self.runner.run(self.ledgers[which].totals(tuple(counters)))
        assert [Fraction(total) for total in totals] == [self.totals[self.key(one)] for one in counters]

    @rule(seconds=st.sampled_from([0.1, 1, 6.9, 60, 61, 600, 7200]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def nothing_is_negative(self) -> None:
        assert all(total >= 0 for total in self.totals.values())


def test_a_ledger_and_a_model_of_it_agree(fresh: Callable[[], Store]) -> None:
    run_state_machine_as_test(
        lambda: LedgerAndModel(fresh()),  # type: ignore[arg-type]  # it takes any factory, as its documentation says
        settings=settings(
            max_examples=40,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),  # a busy machine is no defect
        ),
    )
