"""Rules are found by the tool of a call and their name: an entry of the tool's own counts before one for many."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.policy.names import matcher
from sidecar.policy.rule_index import RuleIndex
from tests.engine.asking import bundle_of
from tests.support.fuzzing import examples

TERMS = bundle_of("""
hide: [buried]
tools:
  own: {rules: [{name: both, action: deny, reason: a}, {name: small, rate_limit: 3/day}]}
  "ow*": {rules: [{name: both, action: deny, reason: b}, {name: pattern, action: deny, reason: c}]}
  "*": {rules: [{name: any, action: deny, reason: d}, {name: pattern, action: deny, reason: e}]}
""").terms


@pytest.mark.parametrize(("tool", "rule", "entry"), [
    ("own", "both", "own"), ("own", "small", "own"), ("owl", "both", "ow*"), ("own", "pattern", "ow*"),
    ("else", "pattern", "*"), ("else", "any", "*"), ("own", "any", "*"),
])  # fmt: skip
def test_a_rule_is_that_of_the_entry_that_is_about_the_tool(tool: str, rule: str, entry: str) -> None:
    found = RuleIndex(TERMS).find(tool, rule)
    assert found is not None
    assert (found.tool, found.rule) == (entry, rule)
    assert (found.file, found.line) > ("", 0)


@pytest.mark.parametrize(("tool", "rule"), [("else", "small"), ("buried", ""), ("own", "gone"), ("else", "both")])
def test_no_rule_is_found_where_none_of_that_name_is_about_the_tool(tool: str, rule: str) -> None:
    assert RuleIndex(TERMS).find(tool, rule) is None


@pytest.mark.fuzz
@examples(60)
@given(st.text("ownle*?", max_size=6), st.sampled_from(["both", "small", "pattern", "any", "gone"]))
def test_what_is_found_is_what_looking_through_all_rules_would_find(tool: str, rule: str) -> None:
    named = [info for info in TERMS.rules if info.rule == rule]
    exact = [info for info in named if info.tool == tool and not set("*?") & set(info.tool)]
    others = [info for info in named if set("*?") & set(info.tool) and matcher(info.tool).match(tool)]
    assert RuleIndex(TERMS).find(tool, rule) == next(iter([*exact, *others]), None)
