"""Names and patterns of the policy that no tool of the server has: told in the log and beside it, whichever is last."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.events import EngineReady, Event, Listed, fan_out
from sidecar.observe import whole_list
from sidecar.observe.comparison import MOST_NAMES, Comparison
from sidecar.observe.log.observer import Log
from sidecar.observe.policy_standing import PolicyStanding
from tests.engine.asking import bundle_of

LACKS = "the policy names tools that the server lacks: "
MATCHES = "no tool of the server matches "
TOO_MANY = "the server lists too many tools to look for every name and pattern of the policy among them"


class World:
    """A log and a standing that share one comparison, as in a sidecar."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        comparison = Comparison()
        self.standing = PolicyStanding(None, comparison)
        self.hear: Callable[[Event], None] = fan_out([comparison, Log(comparison), self.standing])
        self._caplog = caplog

    def ready(self, policy: str) -> None:
        bundle = bundle_of(policy)
        self.hear(EngineReady("stub", bundle.revision, bundle.serial, bundle.terms))

    def lists(self, *tools: str) -> None:
        self.hear(Listed("stub", list(tools), whole=True))

    @property
    def logged(self) -> list[str]:
        """What the log said since it was asked last."""
        said = [one.getMessage() for one in self._caplog.records if one.levelno == logging.WARNING]
        self._caplog.clear()
        return said


@pytest.fixture
def world(caplog: pytest.LogCaptureFixture) -> World:
    return World(caplog)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("tools: {gitt_log: {rules: [{action: deny}]}}", [f"{LACKS}gitt_log"]),
        ("tools: {'gitt_*': {rules: [{action: deny}]}}", [f"{MATCHES}gitt_*"]),
        ("tools: {'delete_?': {rules: []}}", [f"{MATCHES}delete_?"]),
        ("hide: [gone, 'x*', 'a.b*']", [f"{LACKS}gone", f"{MATCHES}a.b*, x*"]),
        ("tools: {'z*': {rules: [{action: deny, mode: shadow}]}}", [f"{MATCHES}z*"]),
        ("tools: {'git_*': {rules: []}, '*log': {rules: []}, 'g*l?g': {rules: []}, git_log: {rules: []}}", []),
        ("tools: {'*': {rules: [{action: deny}]}, '?*': {rules: []}, '????': {rules: []}}", []),
        ("hide: ['git_*', '*']", []),
    ],
)
def test_what_no_tool_has_is_told_by_the_log_and_beside_it(world: World, policy: str, said: list[str]) -> None:
    world.ready(policy)
    assert (world.logged, world.standing.notes()) == ([], [])
    world.lists("git_log", "git_status")
    assert (world.logged, world.standing.notes()) == (said, said)


def test_each_is_said_once_as_long_as_nothing_else_is_known(world: World) -> None:
    world.ready("tools: {t: {rules: []}, 'd*': {rules: []}}")
    for _ in range(2):
        world.lists("u")
    assert world.logged == [f"{LACKS}t", f"{MATCHES}d*"]
    world.lists("t")
    assert world.logged == []
    world.lists("delete")
    assert world.logged == [f"{LACKS}t"]
    assert world.standing.notes() == [f"{LACKS}t"]


def test_a_policy_that_comes_later_is_compared_with_the_list_that_is_known(world: World) -> None:
    world.ready("tools: {t: {rules: []}}")
    world.lists("t", "u")
    world.ready("tools: {misspelt: {rules: []}, 'e*': {rules: []}}")
    assert world.logged == world.standing.notes() == [f"{LACKS}misspelt", f"{MATCHES}e*"]
    world.ready("tools: {u: {rules: []}}")
    assert world.standing.notes() == []


def test_a_list_that_came_before_any_policy_is_compared_with_the_first(world: World) -> None:
    world.lists("t")
    assert world.standing.notes() == []
    world.ready("tools: {u: {rules: []}}")
    assert world.logged == world.standing.notes() == [f"{LACKS}u"]


def test_an_engine_that_is_ready_again_and_a_list_that_is_the_same_compare_nothing_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = bundle_of("tools: {t: {rules: []}}")
    ready = EngineReady("stub", bundle.revision, bundle.serial, bundle.terms)
    world.hear(ready)
    world.lists("u")
    monkeypatch.setattr("sidecar.observe.comparison.compared", None)
    world.hear(ready)
    world.lists("u")
    assert world.standing.notes() == [f"{LACKS}t"]


def test_of_many_some_are_named_and_the_rest_counted(world: World) -> None:
    entries = ", ".join(
        f"t{number:02}: {{rules: []}}, 'p{number:02}*': {{rules: []}}" for number in range(MOST_NAMES + 3)
    )
    world.ready(f"tools: {{{entries}}}")
    world.lists()
    names, patterns = world.standing.notes()
    assert names.endswith(f"t{MOST_NAMES - 1:02} and 3 more")
    assert patterns.endswith(f"p{MOST_NAMES - 1:02}* and 3 more")


def test_names_and_patterns_are_shown_safely(world: World) -> None:
    world.ready('tools: {"a\\u202eb": {rules: []}, "a\\u202eb*": {rules: []}, ' + f'"{"x" * 500}*": {{rules: []}}}}')
    world.lists("t")
    for note in world.standing.notes():
        assert note.isprintable()
        assert note.isascii() or note.replace("…", "").isascii()
        assert len(note) < 300


# Pages.


def page(walk: int, number: int, *tools: str, last: bool = False) -> Listed:
    return Listed("stub", list(tools), whole=False, walk=walk, page=number, last=last)


def test_pages_are_compared_once_the_last_is_there(world: World) -> None:
    world.ready("tools: {a: {rules: []}, b: {rules: []}, misspelt: {rules: []}, 'c*': {rules: []}, 'z*': {rules: []}}")
    world.hear(page(1, 1, "a"))
    world.hear(page(1, 2, "b", "cc"))
    assert world.standing.notes() == []
    world.hear(page(1, 3, last=True))
    assert world.logged == world.standing.notes() == [f"{LACKS}misspelt", f"{MATCHES}z*"]


@pytest.mark.parametrize(
    "pages",
    [
        [Listed("stub", ["a"], whole=False)],
        [page(1, 2, "a", last=True)],
        [page(1, 1), page(1, 3, "a", last=True)],
        [page(1, 1), page(2, 2, "a", last=True)],
        [page(1, 1), page(1, 2, last=False)],
        [page(1, 1), page(1, 1), page(1, 3, last=True)],
    ],
    ids=["no walk", "only the end", "a gap", "another walk", "no end", "one page twice"],
)
def test_nothing_is_said_by_pages_that_are_not_the_whole_list(world: World, pages: list[Listed]) -> None:
    world.ready("tools: {t: {rules: []}}")
    for one in pages:
        world.hear(one)
    assert world.standing.notes() == []


@given(st.lists(st.lists(st.sets(st.sampled_from("abcdef")), min_size=1), min_size=1, max_size=4), st.randoms())
def test_lists_whose_pages_come_in_turn_are_not_mixed(lists: list[list[set[str]]], random: object) -> None:
    pages = whole_list.Pages()
    waiting = {walk: list(enumerate(one, 1)) for walk, one in enumerate(lists, 1)}
    while waiting:
        walk = random.choice(sorted(waiting))  # type: ignore[attr-defined]
        number, tools = waiting[walk].pop(0)
        found = pages.whole(page(walk, number, *tools, last=not waiting[walk]))
        if waiting[walk]:
            assert found is None
        else:
            del waiting[walk]
            assert found == (frozenset().union(*lists[walk - 1]), False)


def test_of_a_list_that_is_too_long_it_is_only_said_that_it_was_not_compared(world: World) -> None:
    names = [f"n{number}" for number in range(whole_list.MOST_TOOLS + 1)]
    world.ready("tools: {t: {rules: []}}")
    world.lists(*names)
    assert world.logged == world.standing.notes() == [TOO_MANY]
    world.lists("t")
    assert world.standing.notes() == []
    half = len(names) // 2
    world.hear(page(1, 1, *names[:half]))
    world.hear(page(1, 2, *names[half:]))
    world.hear(page(1, 3, last=True))
    assert world.standing.notes() == [TOO_MANY]


def test_lists_that_never_end_are_forgotten_the_oldest_first() -> None:
    pages, name = whole_list.Pages(), "x" * (whole_list.MOST_CHARACTERS // 3)
    for walk in (1, 2, 3, 4):
        pages.whole(page(walk, 1, f"{name}{walk}"[1:]))
    assert pages.whole(page(1, 2, last=True)) is None
    assert pages.whole(page(4, 2, "b", last=True)) == (frozenset({f"{name}4"[1:], "b"}), False)
    for walk in range(5, 7 + whole_list.MOST_OPEN):
        pages.whole(page(walk, 1))
    assert pages.whole(page(5, 2, last=True)) is None
    assert pages.whole(page(6 + whole_list.MOST_OPEN, 2, last=True)) == (frozenset(), False)


# Arguments.

DECLARE = "the policy reads arguments that the tools do not declare: "


def defined(*definitions: dict[str, Any], whole: bool = True) -> Listed:
    return Listed("stub", [one["name"] for one in definitions], whole=whole, definitions=list(definitions))


def tool(name: str, *arguments: str) -> dict[str, Any]:
    return {"name": name, "inputSchema": {"type": "object", "properties": {one: {} for one in arguments}}}


def reading(*paths: str) -> str:
    conditions = ", ".join(f"{{path: {path}, op: eq, value: 1}}" for path in paths)
    return f"tools: {{pay: {{rules: [{{action: deny, conditions: [{conditions}]}}]}}}}"


def test_an_argument_that_a_rule_reads_and_the_tool_does_not_declare_is_told_once(world: World) -> None:
    world.ready(reading("args.ammount", "args.to.name", "args.amount.value"))
    for _ in range(2):
        world.hear(defined(tool("pay", "amount", "to"), tool("other", "ammount")))
    assert world.logged == world.standing.notes() == [f"{DECLARE}args.ammount of pay"]
    world.hear(defined(tool("pay", "ammount", "amount", "to")))
    assert world.standing.notes() == []


def test_of_an_argument_it_is_told_by_a_page_too_and_forgotten_with_the_tool_and_with_the_policy(world: World) -> None:
    world.ready(reading("args.a"))
    world.hear(defined(tool("pay", "b"), whole=False))
    assert world.standing.notes() == [f"{DECLARE}args.a of pay"]
    world.hear(defined(tool("pay")))  # it says no more what there is
    assert world.standing.notes() == []
    world.hear(defined(tool("pay", "b")))
    world.hear(defined(tool("other", "b")))
    assert world.standing.notes() == [f"{LACKS}pay"]
    world.hear(defined(tool("pay", "b")))
    assert world.standing.notes() == [f"{DECLARE}args.a of pay"]
    world.ready(reading("args.b"))
    assert world.standing.notes() == []


CLASSED = """
classes: {Read: {rules: [{conditions: [{path: args.a, op: eq, value: 1}]}]}}
tools: {pay: {class: Read}, other: {class: Read}}
"""


@pytest.mark.parametrize(
    "policy",
    [
        "tools: {'*': {rules: [{action: deny, conditions: [{path: args.a, op: eq, value: 1}]}]}}",
        "tools: {'p*': {rules: [{action: deny, conditions: [{path: args.a, op: eq, value: 1}]}]}}",
        "tools: {pay: {rules: [{conditions: [{path: principal.subject, op: eq, value: a}]}, {only: [a, z]}]}}",
        CLASSED,
    ],
    ids=["any tool", "a pattern", "no argument", "a class"],
)
def test_rules_for_several_tools_need_not_read_what_each_of_them_declares(world: World, policy: str) -> None:
    world.ready(policy)
    world.hear(defined(tool("pay", "b"), tool("other", "b")))
    assert world.standing.notes() == []


def test_arguments_are_shown_safely_and_some_of_many(world: World) -> None:
    odd = "x\u202e" + "y" * 500
    world.ready(reading(*(f"args.a{number:02}" for number in range(MOST_NAMES)), f"'args.{odd}'"))
    world.hear(defined(tool("pay", "b")))
    [note] = world.standing.notes()
    assert note.endswith(f"args.a{MOST_NAMES - 1:02} of pay and 1 more")
    world.ready(reading(f'"args.{odd}"'))
    world.hear(defined(tool("pay", "b")))
    [note] = world.standing.notes()
    assert note.isprintable()
    assert len(note) < 300
