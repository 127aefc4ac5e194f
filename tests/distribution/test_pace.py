"""When a source is looked at again: soon while it answers, later while it fails, and not all at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.pace import LONGEST, pause

INTERVALS = st.floats(0.1, 600)
CHANCES = st.floats(0, 1, exclude_max=True)


@given(INTERVALS, CHANCES)
def test_without_failures_the_interval_is_never_exceeded(interval: float, chance: float) -> None:
    assert 0.8 * interval <= pause(interval, 0, lambda: chance) <= interval


@given(INTERVALS, st.integers(0, 10**6), CHANCES)
def test_no_pause_is_longer_than_the_longest_or_shorter_than_half_the_interval(
    interval: float, failures: int, chance: float
) -> None:
    assert interval / 2 <= pause(interval, failures, lambda: chance) <= max(interval, LONGEST)


@given(INTERVALS, st.integers(0, 1000))
def test_each_failure_makes_the_pause_longer_or_leaves_it(interval: float, failures: int) -> None:
    assert pause(interval, failures, lambda: 0.0) <= pause(interval, failures + 1, lambda: 0.0)


def test_after_several_failures_the_half_of_a_pause_is_chance() -> None:
    chances = iter([0.0, 0.25, 0.5, 0.75])
    pauses = {pause(1.0, 8, lambda: next(chances)) for _ in range(4)}
    assert pauses == {30.0, 26.25, 22.5, 18.75}
