"""Ids of rules: another one for every rule of a policy, and the same one for a rule with a name wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.decision.question import question
from sidecar.policy.facts import facts
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read
from tests.policy.evaluator import matches
from tests.policy.test_agreement import ask, yaml
from tests.policy.test_compile import bundle_of
from tests.support.fuzzing import examples

Tools = dict[str, list[str | None]]
"""By entry, the names of its rules; None where a rule has none."""

LETTERS = st.sampled_from('ab/%#"2F351é日*')
NAMES = st.text(LETTERS, min_size=1, max_size=6)


def policy_of(*files: Tools) -> Policy:
    made = [read(policy_text(tools), f"{at}.yaml") for at, tools in enumerate(files)]
    assert [problem for _, problems in made for problem in problems] == []
    return merge([file for file, _ in made])[0]


def policy_text(tools: Tools) -> str:
    rules = {tool: [{"action": "allow", **({"name": name} if name else {})} for name in tools[tool]] for tool in tools}
    return yaml({"tools": {tool: {"rules": rules[tool]} for tool in tools}})


def ids(policy: Policy) -> list[str]:
    return [rule.id for entry in policy.entries for rule in entry.rules]


def test_a_rule_is_known_by_its_name_and_one_without_a_name_by_its_place() -> None:
    assert ids(policy_of({"t": ["small orders", None], "*": [None], "a/b": ["c/d#1", None], "50%#": [None]})) == [
        "t/small orders", "t#2", "*#1", "a%2Fb/c/d#1", "a%2Fb#2", "50%25%23#1",
    ]  # fmt: skip


def test_a_rule_with_a_name_keeps_its_id_when_another_is_put_before_it() -> None:
    before, after = ids(policy_of({"t": ["a", "b"]})), ids(policy_of({"t": [None, "b", "new", "a"]}))
    assert set(before) <= set(after)


@st.composite
def parted(draw: st.DrawFn) -> list[Tools]:
    """Two rules that a careless writer gives one id: one text, parted at two of its places."""
    at = draw(st.sampled_from("/#"))
    pieces = draw(st.lists(st.text(LETTERS, max_size=3), min_size=3, max_size=5))
    places = draw(st.lists(st.integers(1, len(pieces) - 1), min_size=2, max_size=2, unique=True))
    return [{f"x{at.join(pieces[:place])}": [f"{at.join(pieces[place:])}1"]} for place in places]


@st.composite
def several_files(draw: st.DrawFn) -> list[Tools]:
    entries = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    lists = st.lists(st.none() | NAMES, min_size=1, max_size=3, unique_by=lambda name: name or object())
    files: list[Tools] = [{}, {}, {}]
    for entry in entries:
        files[draw(st.integers(0, 2))][entry] = draw(lists)
    return files


@st.composite
def written_out(draw: st.DrawFn) -> list[Tools]:
    """A rule, and one whose entry is really called what the id of the first one begins with."""
    entry, name = draw(NAMES), draw(st.none() | NAMES)
    other = draw(NAMES)
    [first] = ids(policy_of({entry: [name]}))
    called = [first[:at] for at, letter in enumerate(first) if at and letter in "/#"]
    return [{entry: [name]}, {each: [other, None] for each in called if each != entry}]


@pytest.mark.fuzz
@given(files=several_files() | parted() | written_out())
@examples(300)
def test_no_two_rules_of_a_policy_share_an_id(files: list[Tools]) -> None:
    distinct = {entry: names for file in files for entry, names in file.items()}
    policy = policy_of(*({entry: file[entry] for entry in file if distinct[entry] is file[entry]} for file in files))
    found = ids(policy)
    assert len(set(found)) == len(found)
    assert sorted(found) == sorted(known_ids(facts(policy)))


def known_ids(known: dict[str, Any]) -> list[str]:
    lists = [*known["tools"].values(), *(item["rules"] for item in known["patterns"]), known["any_tool"]]
    return [rule["id"] for rules in lists for rule in rules]


@pytest.mark.parametrize(("one", "other"), [
    (("pay*", "/a"), ("pay*/", "a")), (("*pay", "#a"), ("*pay#", "a")), (("pay*", '"/a'), ('pay*"', "a")),
    (("pay*%2F", "a"), ("pay*/", "a")), (("*pay", "a/b"), ("*pay/a", "b")),
])  # fmt: skip
def test_the_proof_of_one_rule_is_never_that_of_another(one: tuple[str, str], other: tuple[str, str]) -> None:
    tools = {entry: {"rules": [needs(entry, name)]} for entry, name in (one, other)}
    bundle = bundle_of(yaml({"tools": tools}))
    called = [entry.replace("*", more) for entry in tools for more in ("", "x")]
    calls = [(tool, proven) for tool in called for proven in tools]
    answers = ask(bundle, [question("s", tool, {proven: "yes"}) for tool, proven in calls])
    for (tool, proven), decision in zip(calls, answers, strict=True):
        refusing = [entry for entry in tools if matches(entry, tool) and entry != proven]
        assert [violation.reason for violation in decision.violations] == refusing


def needs(entry: str, name: str) -> dict[str, Any]:
    """A rule that is proven by an argument that is called as its entry, and says the entry when it refuses."""
    return {"name": name, "reason": entry, "conditions": [{"path": f"args.{entry}", "op": "eq", "value": "yes"}]}
