"""Sliding windows against a model that keeps each event with its time, and knows nothing of slices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeAlias

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, multiple, rule, run_state_machine_as_test

from sidecar.ledger.protocol import Claim, Claimed, Exhausted, Moved
from sidecar.ledger.values import Counter, Entry, Reservation, Seen, add, window_start
from tests.ledger.stores import NOON, Clock, Store, claim

AMOUNTS = st.sampled_from([0, 1, 1, 1, 2, 5, Decimal("0.1"), Decimal("2.50"), Decimal("1e-30"), 2**64])
LIMITS = st.sampled_from([None, 0, 1, 2, 3, 3, 5, 10, Decimal("0.3"), Decimal("7.7"), 2**65])
COUNTERS, HOLDERS, WINDOWS = st.sampled_from("ab"), st.sampled_from(["", "", "s"]), st.sampled_from([7, 60, 60, 3600])
SLIDING = st.sampled_from([True, True, False])
LOOKED_UP = st.builds(Counter, COUNTERS, HOLDERS, WINDOWS, SLIDING)
RESERVATIONS = st.builds(Reservation, COUNTERS, HOLDERS, WINDOWS, AMOUNTS, LIMITS, st.booleans(), SLIDING)
STEPS = st.sampled_from(
    [0.125, 0.5, 1, 1, 6.875, 7, 7.125, 30, 58.875, 59, 60, 60.5, 61, 61.125, 1800, 3599, 3600, 3661]
)
"""Times that floats add exactly: around a slice, a window, and a window and a slice."""

Key: TypeAlias = tuple[str, str, int, bool]


@dataclass(eq=False)
class Event:
    """What was taken from a counter, when, and what the clock said."""

    key: Key
    amount: Fraction
    at: Fraction
    clock: float


class LedgerAndEvents(RuleBasedStateMachine):
    """Two ledgers on one store, used in turn, and every event that was not given back."""

    claimed = Bundle("claimed")

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.clock = Clock(NOON + 0.25)
        self.time = Fraction(0)
        self.was_set_back = False
        self.ledgers = [store.ledger(self.clock), store.ledger(self.clock)]
        self.runner = asyncio.Runner()
        self.events: list[Event] = []

    def teardown(self) -> None:
        for ledger in self.ledgers:
            self.runner.run(ledger.close())
        self.runner.close()

    def bounds(self, one: Reservation | Counter) -> tuple[Fraction, Fraction]:
        """The least and the most that a counter may stand at."""
        events = [event for event in self.events if event.key == key(one)]
        if not one.sliding:
            now = window_start(self.clock.now, one.window)
            exact = total(event for event in events if window_start(event.clock, one.window) == now)
            return exact, exact
        least = total(event for event in events if self.time - event.at <= one.window)
        longer = one.window * Fraction(61, 60)
        # A clock that was set back makes limits tighter until it comes to where it was.
        most = total(event for event in events if self.was_set_back or self.time - event.at < longer)
        return least, most

    @rule(
        target=claimed, wanted=st.lists(RESERVATIONS, min_size=1, max_size=3), which=st.integers(0, 1),
        wait=st.booleans(),
    )  # fmt: skip
    def claim(self, wanted: list[Reservation], which: int, wait: bool) -> object:
        ledger = self.ledgers[which]
        result: Claimed = self.runner.run(ledger.claim(tuple(wanted)) if wait else claim(ledger, *wanted))
        taken: dict[Key, Fraction] = {}
        for position, one in enumerate(wanted):
            least, most = self.bounds(one)
            own = taken[key(one)] = taken.get(key(one), Fraction(0)) + Fraction(one.amount)
            match result:
                case Exhausted(refused, seconds) if refused == position:
                    assert not admits(one, most + own), "stricter than a window and a slice"
                    if one.sliding:
                        self.fits_after(seconds, one, own)
                    return multiple()
                case _:
                    assert admits(one, least + own), "more than the limit within a window"
                    if isinstance(result, Claim):
                        assert least + own <= Fraction(result.totals[position]) <= most + own
        assert isinstance(result, Claim)
        events = [Event(key(one), Fraction(one.amount), self.time, self.clock.now) for one in wanted]
        self.events += events
        return result.entries, events

    def fits_after(self, seconds: int, wanted: Reservation, own: Fraction) -> None:
        """What was refused fits after so many seconds, and did not fit a second before."""
        assert seconds >= 1
        if not admits(wanted, own):
            return  # it never fits
        now = self.clock.now
        for wait, fits in ((seconds, True), (seconds - 1, False)):
            self.clock.now = now + wait
            assert admits(wanted, self.stands(wanted) + own) is fits, (wait, fits)
        self.clock.now = now

    def stands(self, one: Reservation | Counter) -> Fraction:
        """The total that the ledger gives of a counter."""
        (found,) = self.runner.run(self.ledgers[0].totals((Counter(*key(one)),)))
        return Fraction(found)

    @rule(taken=consumes(claimed), which=st.integers(0, 1), kept=st.integers(0, 2))
    def give_back(self, taken: tuple[tuple[Entry, ...], list[Event]], which: int, kept: int) -> None:
        entries, events = taken
        self.runner.run(self.ledgers[which].give_back(entries[kept:]))
        for event in events[kept:]:
            self.events.remove(event)

    @rule(counters=st.lists(LOOKED_UP, max_size=3), which=st.integers(0, 1))
    def look(self, counters: list[Counter], which: int) -> None:
        totals = self.runner.run(self.ledgers[which].totals(tuple(counters)))
        for one, found in zip(counters, totals, strict=True):
            least, most = self.bounds(one)
            assert least <= Fraction(found) <= most

    @rule(one=LOOKED_UP, which=st.integers(0, 1), more=st.sampled_from([0, 0, 1]))
    def claim_where_it_was_seen(self, one: Counter, which: int, more: int) -> None:
        """A claim by the total that was seen goes through; by another it does not."""
        (found,) = self.runner.run(self.ledgers[which].totals((one,)))
        seen = Seen(one, add(found, more))
        result = self.runner.run(claim(self.ledgers[1 - which], seen=(seen,)))
        assert isinstance(result, Moved if more else Claim)

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.time += Fraction(seconds)
        self.clock.now += seconds

    @rule(seconds=st.sampled_from([0.125, 1, 30, 61, 3600, 10_000_000]), sure=st.sampled_from([True, False, False]))
    def the_clock_is_set_back(self, seconds: float, sure: bool) -> None:
        if sure:
            self.was_set_back = True
            self.clock.now -= seconds


def key(one: Reservation | Counter) -> Key:
    """What tells counters apart."""
    return one.counter, one.holder, one.window, one.sliding


def total(events: Iterable[Event]) -> Fraction:
    """What events took together."""
    return sum((event.amount for event in events), Fraction(0))


def admits(one: Reservation, total: Fraction) -> bool:
    """Whether a total is within the limit of a reservation."""
    return one.limit is None or total < one.limit or (total == one.limit and not one.exclusive)


def test_never_more_than_the_limit_within_any_span_and_never_stricter_than_a_slice(fresh: Callable[[], Store]) -> None:
    run_state_machine_as_test(
        lambda: LedgerAndEvents(fresh()),  # type: ignore[arg-type]  # it takes any factory, as its documentation says
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),  # a busy machine is no defect
        ),
    )
