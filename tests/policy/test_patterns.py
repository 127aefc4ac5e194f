"""Names with `*` and `?` as Python matches them: as RE2 does, and in a moment whatever name an agent makes up."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.policy.names import glob, matcher

CHARS = st.text("ab*?\n.[\\$^ \u2028é", max_size=7)


@given(CHARS, st.text("ab\n.[\\$^ \u2028é*?", max_size=9))
@example("a", "a\n")
@example("*a", "a\n")
@example("a*a", "a")
@example("*ab*b", "ab")
@example("*a?*a", "aaba")
@example("**", "")
def test_a_name_is_matched_as_its_pattern_says(name: str, tool: str) -> None:
    said = re.compile(glob(name).removesuffix("$") + r"\Z").search(tool) is not None
    assert (matcher(name).match(tool) is not None) is said


@pytest.mark.parametrize("name", ["*_*_*_*_*_by_id", "get_*_*_*_*_by_id", "*_?_*_?*_*_", "*a" * 40 + "*b"])
@pytest.mark.parametrize("tool", ["get" + "_" * 1021, "a" * 1024, "_a" * 512])
def test_no_name_takes_long_to_match(name: str, tool: str) -> None:
    before = process_time()
    matcher(name).match(tool)
    assert process_time() - before < 0.5
