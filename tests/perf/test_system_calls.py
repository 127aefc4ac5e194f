"""What a call costs in the kernel: reads and writes of the sidecar's process, and how often it fell asleep.

One call is read and its answer is read; it is sent on, its answer is sent on, and it is written to the audit trail.
Calls that arrive together share all of that in portions, where the transport lets them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from sidecar.audit.records import OUTCOMES_WAIT
from tests.perf.counting import Kernel
from tests.support.opa_tap import OpaTap
from tests.support.straight import Call, Straight, passed

CALLS = 96
TOGETHER = 32
SLACK = 8
"""For what comes rarely: a bundle is asked for, the store's log is written back."""


def work(way: Straight, tap: OpaTap, calls: list[Call], together: int = 1) -> Kernel:
    """What these calls took, so many at once; without the proofs of life and the outcomes that fell into that time."""
    assert all(map(passed, way.together(calls[:1] * together)))  # connections are open then
    before, others, since = Kernel.of(way.pid), tap.others, time.monotonic()
    for at in range(1, len(calls), together):
        assert all(map(passed, way.together(calls[at : at + together])))
    took, beats = Kernel.of(way.pid).since(before), tap.others - others
    # Outcomes wait for one another, and each portion of them is a write and a sleep: so many there can have been.
    portions = int((time.monotonic() - since) / OUTCOMES_WAIT) + 1
    # A proof of life may begin before the count and end in it.
    reads, writes, sleeps = (each - beats - 2 for each in (took.reads, took.writes, took.sleeps))
    return Kernel(reads, writes - portions, sleeps - portions)


def repeated(new: Iterator[int], count: int) -> list[Call]:
    return [("read", {"sz": next(new)})] * count


def fresh(new: Iterator[int], count: int) -> list[Call]:
    return [("read", {"sz": next(new)}) for _ in range(count)]


def counted(new: Iterator[int], count: int) -> list[Call]:
    return [("counted", {})] * count


def bounds(took: Kernel, *, reads: int, writes: int, sleeps: int) -> None:
    assert took.reads <= reads + SLACK
    assert took.writes <= writes + SLACK
    assert took.sleeps <= sleeps + SLACK


def test_a_repeated_call_is_two_reads_and_three_writes(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    took = work(way, tap, repeated(new, CALLS + 1))
    bounds(took, reads=2 * CALLS, writes=3 * CALLS, sleeps=2 * CALLS)


def test_a_new_question_adds_one_read_and_one_write(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    took = work(way, tap, fresh(new, CALLS + 1))
    bounds(took, reads=3 * CALLS, writes=4 * CALLS, sleeps=3 * CALLS)


def test_a_counted_call_adds_two_writes_of_the_store(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    took = work(way, tap, counted(new, CALLS + 1))
    bounds(took, reads=2 * CALLS, writes=5 * CALLS, sleeps=2 * CALLS)


def test_calls_that_arrive_together_share_reads_and_writes(way: Straight, tap: OpaTap, new: Iterator[int]) -> None:
    took = work(way, tap, repeated(new, CALLS + 1), TOGETHER)
    portions = way.portions_of(TOGETHER) * CALLS // TOGETHER
    bounds(took, reads=2 * portions, writes=3 * portions, sleeps=2 * CALLS)


def test_counted_calls_that_arrive_together_share_the_stores_writes(
    way: Straight, tap: OpaTap, new: Iterator[int]
) -> None:
    took = work(way, tap, counted(new, CALLS + 1), TOGETHER)
    portions = way.portions_of(TOGETHER) * CALLS // TOGETHER
    bounds(took, reads=2 * portions, writes=5 * portions, sleeps=2 * CALLS)
