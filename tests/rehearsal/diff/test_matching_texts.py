"""Texts made from patterns: the engine says that some match and some do not, for what people write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine import binary
from sidecar.rehearsal.diff.matching_texts import texts
from tests.support import OPA

PATTERNS = [
    "^[a-z]{3}-[0-9]+$", "(?i)drop|delete", "^/etc/", "a.c", r"^\d{4}-\d{2}-\d{2}$", r"^\w+@example\.com$",
    "[[:alpha:]]+x", r"\bsecret\b", "^(?:a|b)*c$", "^[^a-z]+$", r"^(prod|staging)-[a-z0-9-]{1,40}\z", r"\pL+7",
    "^(?P<year>20[0-9]{2})$", "(?s)^a.b$", "(?m)^x$", r"[\w.-]+", "^.{1,200}$", "^$", r"\.\./", "^0x[0-9A-Fa-f]+$",
]  # fmt: skip


def test_of_every_pattern_some_texts_match_and_some_do_not() -> None:
    made = {pattern: texts(pattern) for pattern in PATTERNS}
    query = "{pattern: [found | some text in list; found := regex.match(pattern, text)] | some pattern, list in input}"
    found = json.loads(binary.evaluate(OPA, query, json.dumps(made)))
    one_sided = {pattern for pattern, answers in found.items() if set(answers) != {True, False}}
    assert one_sided == set()


@pytest.mark.parametrize("pattern", ["(", "(?<=a)b", "a{99999999}", "[", "\\"])
def test_a_pattern_that_python_does_not_read_or_that_has_no_end_gives_nothing_or_little(pattern: str) -> None:
    assert len(texts(pattern)) <= 200


@given(st.text(alphabet="ab[](){}|*+?.^$\\-,0123dw:=<>iP!", max_size=30))
def test_no_pattern_takes_long_or_raises(pattern: str) -> None:
    made = texts(pattern)
    assert len(made) <= 200
    assert all(len(text) < 1 << 20 for text in made)
