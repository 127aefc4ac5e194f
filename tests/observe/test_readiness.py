"""A store that cannot be used makes a sidecar not ready, until it counts again or nobody asked for a while."""

from __future__ import annotations

from sidecar.events import Passed, StoreFailed
from sidecar.observe.readiness import LASTS, Readiness
from tests.observe.decided import decided, tell

FAILED = StoreFailed("stub", "the store of counters cannot be used: database or disk is full")


class Clock:
    """A clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_store_that_fails_is_said_until_something_is_counted() -> None:
    readiness = Readiness(Clock())
    assert readiness.trouble() is None
    tell(readiness, FAILED)
    tell(readiness, decided())
    tell(readiness, Passed("stub", "ping"))
    assert readiness.trouble() == FAILED.text
    tell(readiness, decided(left=(("per day", 2.0),)))
    assert readiness.trouble() is None


def test_a_failure_counts_only_for_a_while_or_no_call_would_come_that_could_end_it() -> None:
    clock = Clock()
    readiness = Readiness(clock)
    tell(readiness, FAILED)
    clock.now += LASTS
    assert readiness.trouble() is None
