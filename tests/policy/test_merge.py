"""Several policy files as one: what is joined, what clashes, and that a clash names both places."""

from __future__ import annotations

from itertools import product

import pytest

from sidecar.policy.check import check
from sidecar.policy.merge import merge
from sidecar.policy.model import Policy
from sidecar.policy.read import read


def merged(*texts: str) -> tuple[Policy, list[str]]:
    """The policy of the files a.yaml, b.yaml, ... and every problem with it."""
    files, problems = [], []
    for name, text in zip("abc", texts, strict=False):
        file, found = read(text, f"{name}.yaml")
        files.append(file)
        problems += found
    policy, clashes = merge(files)
    return policy, [str(problem) for problem in sorted([*problems, *clashes, *check(policy)])]


def policy(*texts: str) -> Policy:
    made, problems = merged(*texts)
    assert problems == []
    return made


def test_one_file_is_a_policy_with_what_holds_when_nothing_is_said() -> None:
    made = policy("tools: {t: {rules: []}}")
    assert (made.default, made.mode, made.hide, len(made.entries)) == ("allow", "enforce", (), 1)


def test_tools_and_hidden_names_are_joined_in_the_order_of_the_files() -> None:
    made = policy(
        "hide: [x, y]\ntools: {b: {rules: []}, a: {rules: []}}", "hide: [w]\ntools: {'*': {rules: []}}", "tools: {c: }"
    )
    assert [entry.tool for entry in made.entries] == ["b", "a", "*", "c"]
    assert [item.name for item in made.hide] == ["x", "y", "w"]


def test_every_file_is_a_source_with_its_own_hash() -> None:
    sources = policy("tools: {}", "tools: {a: }").sources
    assert [source.file for source in sources] == ["a.yaml", "b.yaml"]
    assert len({source.sha256 for source in sources}) == 2


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_only_one_file_says_holds_for_all(order: tuple[int, int]) -> None:
    texts = ["default: deny\napprovals: {timeout: 90s}", "tools: {t: {rules: []}}"]
    made = policy(*(texts[at] for at in order))
    assert (made.default, made.mode, made.approvals.timeout) == ("deny", "enforce", 90)


@pytest.mark.parametrize("text", ["default: deny", "default: allow", "mode: monitor", "mode: enforce"])
def test_two_files_may_say_the_same(text: str) -> None:
    policy(text, f"{text} # again")


STATED = ["", "default: deny", "default: allow", "mode: monitor", "mode: enforce", "default: deny\nmode: monitor"]


def test_no_file_loosens_another() -> None:
    for texts in product(STATED, repeat=3):
        made, problems = merged(*texts)
        alone = [policy(text) for text in texts]
        assert made.default == ("deny" if any(each.default == "deny" for each in alone) else "allow")
        assert made.mode == ("enforce" if any(each.mode == "enforce" for each in alone) else "monitor")
        assert all("warning: " in problem and "has no effect" in problem for problem in problems)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_what_has_no_effect_beside_a_stricter_file_is_warned_of(order: tuple[int, int]) -> None:
    texts = ["# first\ndefault: allow\nmode: monitor", "default: deny"]
    _, problems = merged(*(texts[at] for at in order))
    loose, strict = ("a.yaml", "b.yaml") if order == (0, 1) else ("b.yaml", "a.yaml")
    default, mode = problems
    assert default == f"{loose}:2:1: warning: default: has no effect: {strict}:1 says deny, and the stricter holds"
    assert mode.startswith(f"{loose}:3:1: warning: mode: has no effect: {strict} states no mode, which is to")
    _, [said] = merged("mode: monitor", "mode: enforce")
    assert "b.yaml says enforce, and the stricter holds" in said


@pytest.mark.parametrize(("one", "other"), [
    ("approvals: {timeout: 1h}", "approvals: {timeout: 2h}"), ("approvals: {}", "approvals: {}"),
])  # fmt: skip
def test_two_files_with_approvals_clash(one: str, other: str) -> None:
    _, problems = merged(f"# first\n{one}", f"# a\n# b\n{other}")
    words = "a.yaml:2 says something else: keep approvals in one of the files"
    assert problems == [f"b.yaml:3:1: approvals: {words}"]


def test_a_tool_in_two_files_clashes_and_both_places_are_named() -> None:
    for tool in ("t", "*", "get_*"):
        _, problems = merged(f"tools:\n  '{tool}': {{rules: []}}", f"tools:\n\n  '{tool}': {{rules: []}}")
        words = "a.yaml:2 has this tool too: put its rules into one file"
        assert problems == [f"b.yaml:3:3: tools.{tool}: {words}"]


def test_a_name_hidden_by_two_files_clashes() -> None:
    _, problems = merged("hide: [a, b]", "hide:\n- b\n- c")
    assert problems == ['b.yaml:2:3: hide: "b" is hidden by a.yaml:1 already']


def test_three_files_clash_each_with_the_first() -> None:
    _, problems = merged("tools: {t: }", "tools: {t: }", "tools: {t: }")
    assert [problem.split(":")[0] for problem in problems] == ["b.yaml", "c.yaml"]
    assert all("a.yaml:1 has this tool too" in problem for problem in problems)


def test_a_counter_of_one_file_can_be_read_in_another() -> None:
    reading = "tools: {u: {rules: [{conditions: [{path: state.t.n, op: lt, value: 5}]}]}}"
    counting = "tools: {t: {rules: [{action: allow, state: {counter: n, window: day}}]}}"
    for texts in ((reading, counting), (counting, reading)):
        assert len(policy(*texts).entries) == 2
    _, problems = merged(reading, "tools: {t: {rules: []}}")
    assert len(problems) == 1
    assert "a.yaml:1" in problems[0]


def test_problems_of_all_files_are_listed_together() -> None:
    _, problems = merged("defualt: deny\ntools: {t: {rules: [{action: x}]}}", "mode: x", "hide: x")
    places = [":".join(problem.split(":")[:2]) for problem in problems]
    assert places == ["a.yaml:1", "a.yaml:2", "b.yaml:1", "c.yaml:1"]


def test_the_first_deny_does_not_reach_over_files() -> None:
    assert merged("tools: {t: {rules: [{action: deny}]}}", "tools: {'*': {rules: [{action: allow}]}}")[1] == []
