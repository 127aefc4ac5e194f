"""The ledger against a model: whatever is claimed, given back, and however much time passes, they agree."""

from __future__ import annotations

import asyncio
import tempfile
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Claim, Claimed, Entry, Exhausted, Reservation
from tests.ledger import NOON, Clock

AMOUNTS = st.sampled_from([0, 1, 1, 1, 2, 5, Decimal("0.1"), Decimal("2.50"), Decimal("1e-30"), 2**64, 10**33])
LIMITS = st.sampled_from([0, 1, 2, 3, 10, Decimal("0.3"), Decimal("7.7"), 2**65, 10**34])
RESERVATIONS = st.builds(
    Reservation, st.sampled_from("ab"), st.sampled_from(["", "s"]), st.sampled_from([7, 60, 3600]), AMOUNTS, LIMITS
)


class LedgerAndModel(RuleBasedStateMachine):
    """Two ledgers on one file, used in turn, and a dictionary of fractions that knows nothing of files."""

    claimed = Bundle("claimed")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock(NOON)
        path = Path(self.folder.name) / "counters.db"
        self.ledgers = [SqliteLedger(path, self.clock), SqliteLedger(path, self.clock)]
        self.runner = asyncio.Runner()
        self.totals: defaultdict[tuple[str, str, int, int], Fraction] = defaultdict(Fraction)

    def teardown(self) -> None:
        for ledger in self.ledgers:
            self.runner.run(ledger.close())
        self.runner.close()
        self.folder.cleanup()

    def expected(self, wanted: list[Reservation]) -> int | list[Fraction]:
        """The position that refuses, or what is left of each; then the totals are the new ones."""
        totals, left = self.totals.copy(), []
        for position, one in enumerate(wanted):
            key = (one.counter, one.holder, one.window, int(self.clock.now // one.window * one.window))
            totals[key] += Fraction(one.amount)
            if totals[key] > one.limit:
                return position
            left.append(Fraction(one.limit) - totals[key])
        self.totals = totals
        return left

    @rule(target=claimed, wanted=st.lists(RESERVATIONS, max_size=4), which=st.integers(0, 1), wait=st.booleans())
    def claim(self, wanted: list[Reservation], which: int, wait: bool) -> object:
        ledger = self.ledgers[which]
        result: Claimed | None = (
            self.runner.run(ledger.claim(tuple(wanted))) if wait else ledger.claim_at_once(tuple(wanted))
        )
        match result, self.expected(wanted):
            case Claim(entries, left), list(expected):
                assert [Fraction(amount) for amount in left] == expected
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

    @rule(seconds=st.sampled_from([0.1, 1, 6.9, 60, 61, 600, 7200]))
    def time_passes(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def nothing_is_negative(self) -> None:
        assert all(total >= 0 for total in self.totals.values())


TestLedgerAndModel = LedgerAndModel.TestCase
TestLedgerAndModel.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, report_multiple_bugs=False
)
