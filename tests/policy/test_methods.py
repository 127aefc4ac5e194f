"""Which methods pass: what a file says, what holds when it says nothing, and what several files say together."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.mcp.protocol import METHODS, OF_CLIENTS
from sidecar.policy.bundle import build
from sidecar.policy.check import check
from sidecar.policy.compile import compile_policy
from sidecar.policy.merge import merge
from sidecar.policy.model import ALWAYS_OPEN
from sidecar.policy.read import read
from sidecar.policy.terms import Terms
from sidecar.repository.losses import share
from tests.engine.asking import bundle_of
from tests.support.fuzzing import examples

UNKNOWN = ("tasks/call", "x/tools/call", "notifications/x", "roots/list", "sampling/createMessage")


def terms(*texts: str) -> Terms:
    files = [read(text, f"{at}.yaml")[0] for at, text in enumerate(texts)]
    return build(compile_policy(merge(files)[0]), 1).terms


def problems(text: str) -> list[str]:
    file, found = read(text, "p.yaml")
    policy, clashes = merge([file])
    return [str(problem) for problem in sorted({*found, *clashes, *check(policy)})]


@pytest.mark.parametrize("method", sorted(OF_CLIENTS))
@pytest.mark.parametrize("text", ["tools: {}", "default: deny", "methods: {unknown: deny}"])
def test_what_a_client_may_say_by_any_revision_passes_unless_a_file_denies_it(text: str, method: str) -> None:
    assert terms(text).permits(method)


@pytest.mark.parametrize("method", UNKNOWN)
@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("tools: {}", True),
        ("default: allow", True),
        ("default: deny", False),
        ("methods: {unknown: deny}", False),
        ("default: deny\nmethods: {unknown: allow}", True),
        ("default: allow\nmethods: {unknown: deny}", False),
        ("default: deny\nmethods: {deny: [x]}", False),
    ],
)
def test_an_unknown_method_passes_by_what_is_said_of_unknown_ones_else_by_default(
    text: str, passes: bool, method: str
) -> None:
    assert terms(text).permits(method) is passes


def test_single_methods_are_opened_and_closed_by_their_exact_names() -> None:
    made = terms("default: deny\nmethods: {allow: [x/y, roots/list], deny: [resources/read, x/z]}")
    assert [made.permits(name) for name in ("x/y", "roots/list", "x/z", "resources/read", "X/y", "x", "x/y/z")] == [
        True, True, False, False, False, False, False,
    ]  # fmt: skip
    made = terms("methods: {deny: [x/z, notifications/roots/list_changed]}")
    assert [made.permits(name) for name in ("x/y", "x/z", "notifications/roots/list_changed")] == [True, False, False]


@pytest.mark.parametrize("method", ["/x/run", "x//run", "X/Run", "x/run/", "x /run", "xrun", "ｘ/run"])
def test_what_looks_like_a_closed_method_is_closed_unless_it_is_opened_by_its_name(method: str) -> None:
    assert not terms("methods: {deny: [x/run]}").permits(method)
    assert terms("methods: {deny: [x/runs]}").permits(method)
    assert terms(f"methods: {{unknown: deny, allow: ['{method}'], deny: [x/run]}}").permits(method)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        *((f"methods: {{deny: [{name}]}}", f'"{name}" cannot be denied') for name in ALWAYS_OPEN),
        ("methods: {allow: [x], deny: [x]}", '"x" stands under allow too'),
        ("methods: {deny: [x, x]}", '"x" stands in line 1 already'),
        ("methods: {deny: ['tools/*']}", "methods are named exactly"),
        ("methods: {deny: [Resources/Read]}", 'did you mean "resources/read"?'),
        ("methods: {deny: [/resources/read]}", 'did you mean "resources/read"?'),
        ("methods: {allow: ['']}", "must not be empty"),
        ("methods: {allow: [~]}", "must not be empty"),
        ("methods: {allow: [7]}", 'write "7" in quotes'),
        ("methods: {allow: x}", "must be a list"),
        ("methods: {unknown: monitor}", "must be allow or deny"),
        ("methods: {denied: []}", 'did you mean "deny"?'),
        ("methods: [x]", "must be a mapping"),
    ],
)
def test_what_makes_no_sense_is_answered_with_what_to_write(text: str, words: str) -> None:
    (problem,) = problems(text)
    assert words in problem
    assert re.match(r"p\.yaml:1:\d+: methods", problem)


def test_a_denied_method_that_mcp_has_under_a_name_much_like_it_is_a_warning() -> None:
    (problem,) = problems("methods: {deny: [resource/read, vendor/zzz]}")
    assert "warning: methods.deny" in problem
    assert 'did you mean "resources/read"?' in problem


TEXTS = (
    "tools: {}", "default: deny", "methods: {unknown: deny}", "default: deny\nmethods: {unknown: allow}",
    "default: deny\nmethods: {allow: [a, b]}", "methods: {unknown: deny, allow: [b, c]}", "methods: {allow: [c]}",
    "methods: {deny: [b, resources/read]}",
)  # fmt: skip


@pytest.mark.fuzz
@given(st.lists(st.sampled_from(TEXTS), min_size=2, max_size=3))
@examples(30)
def test_of_several_files_a_method_passes_that_each_of_them_lets_pass(texts: list[str]) -> None:
    alone, together = [terms(text) for text in texts], terms(*texts)
    for method in ("a", "b", "c", "d", "resources/read", "ping"):
        assert together.permits(method) is all(one.permits(method) for one in alone), method


def test_the_methods_of_either_side_are_those_of_clients_and_those_of_servers() -> None:
    assert set(ALWAYS_OPEN) < OF_CLIENTS < METHODS
    for one, other in itertools.combinations(sorted(METHODS), 2):
        assert one.casefold() != other.casefold()


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        ("methods: {unknown: deny, deny: [x, y]}", 0.0),
        ("methods: {deny: [x, y, z]}", 1 / 3),
        ("methods: {unknown: deny, deny: [z]}", 2 / 3),
        ("tools: {}", 1.0),
    ],
)
def test_what_is_opened_counts_as_taken_away(after: str, lost: float) -> None:
    assert share(bundle_of("methods: {unknown: deny, deny: [x, y]}"), bundle_of(after)) == lost
