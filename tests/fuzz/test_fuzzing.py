"""The targets are tried with new examples each time, whoever tried nothing is told, and a failure can be seen again."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import AT_ONCE, Repeated, fresh_seeds


def test_each_seed_gives_other_examples_and_the_same_seed_the_same_ones() -> None:
    def seen(seed: int) -> list[int]:
        found = list[int]()

        @given(st.integers())
        def test(number: int) -> None:
            found.append(number)

        Repeated(test).run([seed], {})
        return found

    assert seen(1) == seen(1) != seen(2)


def test_what_was_tried_is_counted_over_all_seeds() -> None:
    count = 0

    @given(st.binary())
    def test(data: bytes) -> None:
        nonlocal count
        count += 1

    tried = Repeated(test).run([1, 2, 3], {})
    assert (tried.name, tried.examples, tried.seeds) == ("test", count, 3)
    assert count >= 3 * AT_ONCE


def test_to_have_tried_nothing_is_a_failure() -> None:
    @given(st.binary())
    def test(data: bytes) -> None:
        raise AssertionError

    with pytest.raises(AssertionError, match="not one example was tried"):
        Repeated(test).run(fresh_seeds(0), {})


def test_a_failure_names_the_seed_and_the_blob_to_see_it_again() -> None:
    @given(st.integers())
    def test(number: int) -> None:
        assert number < 1000

    with pytest.raises(AssertionError) as caught:
        Repeated(test).run([7], {})
    told = "\n".join(caught.value.__notes__)
    assert "FUZZ_SEED=7 .venv/bin/pytest tests/fuzz -k test" in told
    assert "@reproduce_failure" in told


def test_fresh_seeds_come_until_the_time_is_over_and_never_the_same() -> None:
    clock = itertools.count().__next__
    first, second = (list(fresh_seeds(100, clock)) for _ in range(2))
    assert len(first) == len(second) == 99
    assert not set(first) & set(second)
