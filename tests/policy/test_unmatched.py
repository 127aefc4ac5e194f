"""Patterns that match none of a list of names: as the policy matches, whatever the names, and in bounded work."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.policy.names import matcher
from sidecar.policy.unmatched import MOST_READ, Unmatched, unmatched

TEXTS = st.text("ab.\n\u202e\U0010ffff\x00", max_size=5)
PATTERNS = st.text("ab.*?\n\U0010ffff", min_size=1, max_size=6)


def matchers(patterns: Iterable[str]) -> dict[str, re.Pattern[str]]:
    return {pattern: matcher(pattern) for pattern in patterns}


@given(st.sets(PATTERNS, max_size=6), st.sets(TEXTS, max_size=8))
@example({"a*", "a?*", "?a"}, {"a", "aa"})
@example({"a\U0010ffff*", "*"}, {"a\U0010ffff", ""})
def test_a_pattern_is_unmatched_if_it_matches_no_name(patterns: set[str], names: set[str]) -> None:
    expected = sorted(one for one in patterns if not any(map(matcher(one).match, names)))
    assert unmatched(matchers(patterns), names) == Unmatched(tuple(expected))


@given(st.sets(PATTERNS, max_size=6), st.sets(TEXTS, max_size=8), st.integers(0, 1_000))
def test_with_too_much_to_read_less_is_found_and_nothing_else(patterns: set[str], names: set[str], most: int) -> None:
    everything, found = unmatched(matchers(patterns), names), unmatched(matchers(patterns), names, most)
    assert set(found.patterns) <= set(everything.patterns)
    assert found == everything or not found.all_tried


class Counting:
    """A pattern that counts the names that it is tried on, and matches none."""

    tried = 0

    def match(self, name: str) -> None:
        Counting.tried += 1


def test_ten_thousand_tools_and_a_thousand_patterns_are_bounded_work() -> None:
    names = [f"delete_{number}" for number in range(10_000)]
    patterns: dict[str, re.Pattern[str]] = {f"*_x{number}": Counting() for number in range(1_000)}  # type: ignore[misc]
    Counting.tried = 0
    assert not unmatched(patterns, names).all_tried
    assert 0 < Counting.tried <= MOST_READ // 50
    begin: dict[str, re.Pattern[str]] = {f"delet_{number}*": Counting() for number in range(1_000)}  # type: ignore[misc]
    Counting.tried = 0
    assert unmatched(begin, names) == Unmatched(tuple(sorted(begin)))
    assert Counting.tried == 0
