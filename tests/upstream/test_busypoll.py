"""Busy polling: only where answers come quickly, never for longer than a moment, and nobody else is kept waiting."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.upstream.busypoll import MOMENT, QUICK, BusyPoll


class LoopByHand:
    """An event loop whose passes are made by hand, and a clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.due: list[Callable[[], None]] = []
        self.poll = BusyPoll(self.due.append, lambda: self.now)

    @property
    def is_awake(self) -> bool:
        """The loop would not sleep now."""
        return bool(self.due)

    def turn(self, seconds: float) -> None:
        """One pass of the loop, which takes so long."""
        self.now += seconds
        due, self.due[:] = list(self.due), []
        for call in due:
            call()

    def answered(self, seconds: float) -> None:
        """Something is sent, and answered after so many seconds."""
        self.poll.begin()
        self.turn(seconds)
        self.poll.end()
        self.turn(0)

    def sleeps_until_an_answer_is_quick(self) -> None:
        """Something is sent, and the loop sleeps; the answer comes at once, and from then on it does not."""
        self.poll.begin()
        assert not self.is_awake
        self.poll.end()
        self.poll.begin()
        assert self.is_awake


@pytest.fixture
def world() -> LoopByHand:
    return LoopByHand()


def test_the_loop_sleeps_until_an_answer_came_quickly(world: LoopByHand) -> None:
    world.sleeps_until_an_answer_is_quick()


def test_it_is_awake_until_the_answer_comes(world: LoopByHand) -> None:
    world.answered(QUICK / 2)
    world.poll.begin()
    for _ in range(5):
        world.turn(MOMENT / 10)
        assert world.is_awake
    world.poll.end()
    world.turn(0)
    assert not world.is_awake


def test_it_is_awake_for_no_longer_than_a_moment(world: LoopByHand) -> None:
    world.answered(QUICK / 2)
    world.poll.begin()
    world.turn(MOMENT * 0.9)
    assert world.is_awake
    world.turn(MOMENT * 0.2)
    assert not world.is_awake


def test_after_a_slow_answer_it_sleeps_until_one_is_quick_again(world: LoopByHand) -> None:
    world.answered(QUICK / 2)
    world.answered(QUICK * 2)
    world.sleeps_until_an_answer_is_quick()


def test_a_moment_in_vain_is_the_last_until_something_comes_quickly(world: LoopByHand) -> None:
    world.answered(QUICK / 2)
    for _ in range(3):  # more is sent, and nothing comes
        world.poll.begin()
        world.turn(MOMENT * 0.4)
    assert not world.is_awake
    world.sleeps_until_an_answer_is_quick()


def test_what_comes_unasked_says_nothing_about_answers(world: LoopByHand) -> None:
    world.answered(QUICK * 2)
    world.now += 5
    world.poll.end()
    world.poll.begin()
    assert not world.is_awake


def test_whoever_else_wants_the_processor_gets_it_in_every_pass(
    world: LoopByHand, monkeypatch: pytest.MonkeyPatch
) -> None:
    yields: list[float] = []
    world.answered(QUICK / 2)
    monkeypatch.setattr(os, "sched_yield", lambda: yields.append(world.now))
    world.poll.begin()
    assert yields == []  # not in the middle of what sends
    for count in (1, 2, 3):
        world.turn(MOMENT / 4)
        assert len(yields) == count


@given(st.lists(st.sampled_from(["begin", "end", "turn"]) | st.floats(0, 3 * MOMENT), max_size=60))
def test_it_is_never_awake_without_need_and_never_twice(steps: list[str | float]) -> None:
    world, begun = LoopByHand(), -1.0
    for step in steps:
        if step == "begin":
            world.poll.begin()
            begun = world.now if begun < 0 else begun
        elif step == "end":
            world.poll.end()
            begun = -1.0
        elif step == "turn":
            world.turn(0)
            assert not world.is_awake or 0 <= world.now - begun < MOMENT
            begun = begun if world.now - begun < MOMENT else -1.0
        elif isinstance(step, float):
            world.now += step
        assert len(world.due) <= 1
