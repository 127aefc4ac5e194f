"""Paths: what is written is what is read, and what cannot be meant is refused with what to write."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.paths import EACH, BadPath, Path, read, shown

KEYS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["a", "a.b", "0", "12", "*", "$", "[*]", "[0]", '"', "\\", "a b", " ", "", "args", "é", "\u2028", "\n"]
    ),
)


PATHS = st.lists(st.one_of(KEYS, st.just(EACH)), min_size=1).map(tuple)


@given(PATHS)
def test_a_path_that_is_shown_reads_as_the_same_steps(path: Path) -> None:
    assert read(shown("args", path).removeprefix("args")) == path


@given(PATHS, PATHS)
def test_two_paths_are_shown_in_two_ways(one: Path, other: Path) -> None:
    assert (shown("args", one) == shown("args", other)) is (one == other)


@pytest.mark.parametrize(("text", "steps"), [
    (".a.b", ("a", "b")), (".orders[*].amount", ("orders", EACH, "amount")), (".a[*].b[*]", ("a", EACH, "b", EACH)),
    (".a[*][*]", ("a", EACH, EACH)), ('["a.b"].c', ("a.b", "c")), ('.x["0"]', ("x", "0")),
    ('["a[0]"][*]', ("a[0]", EACH)), ('["\\u0041\\""]', ('A"',)),
    (". 0", (" 0",)), (".$id", ("$id",)), (".naïve-key", ("naïve-key",)), (".*x", ("*x",)),
    ('[""]', ("",)), ('.a"b', ('a"b',)), (".a b", ("a b",)),
])  # fmt: skip
def test_steps(text: str, steps: Path) -> None:
    assert read(text) == steps


@pytest.mark.parametrize(("text", "advice"), [
    (".items[0]", '["0"]'), (".items.0", '["0"]'), (".*", '["*"]'), (".a.*.b", "[*]"), (".$", '["$"]'),
    (".a..b", "empty step"), (".a.", "empty step"), (".", "empty step"),
    (".a[", "bracket"), (".a]", "bracket"), (".a[b]", "bracket"),
    (".a['b']", "bracket"), (".a[**]", "bracket"), ('.a["b]', "bracket"), ("[*]x", "put a dot"),
    ('["a"]b', "put a dot"), ('["\\x"]', "no JSON text"), ('["\\ud800"]', "no JSON text"), (".[*]", "empty step"),
])  # fmt: skip
def test_what_is_no_path_says_what_to_write(text: str, advice: str) -> None:
    with pytest.raises(BadPath) as refused:
        read(text)
    assert advice in str(refused.value)
