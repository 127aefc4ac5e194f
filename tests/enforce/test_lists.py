"""Lists of tools: the engine is asked which to hide; when nobody can tell, nothing is shown."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.enforce.lists import LARGE
from sidecar.enforce.questions import MAX_QUESTION
from sidecar.enforce.trial import MAX_ATTEMPTS
from sidecar.errors import EngineUnavailable
from tests.enforce.fakes import BUNDLE, GateBetweenFakes, run
from tests.engine.asking import bundle_of

HIDING = bundle_of("{hide: [b], tools: {}}")
NEWER = [bundle_of("{hide: [c], tools: {}}", serial) for serial in range(2, 9)]


async def hidden(world: GateBetweenFakes, *tools: str) -> frozenset[str] | None:
    """What is delivered, once, about a list."""
    delivered: list[frozenset[str] | None] = []
    world.gate.filter(tools, delivered.append)
    await world.gate.finish()
    (found,) = delivered
    return found


def test_the_engine_says_which_of_the_listed_tools_are_hidden() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await hidden(world, "a", "b", "a") == frozenset({"b"})
        ((asked, bundle, _),) = world.engine.asked
        assert (asked["method"], asked["tools"], asked["server"]) == ("tools/list", ["a", "b", "a"], "stub")
        assert bundle is HIDING

    run(test, {"bundle": HIDING, "hidden": ["b"]})


@pytest.mark.parametrize(
    ("bundle", "options"),
    [(BUNDLE, {}), (HIDING, {"mode": "monitor"}), (bundle_of("{hide: [b], mode: monitor, tools: {}}"), {})],
    ids=["nothing is hidden", "monitor by option", "monitor by policy"],
)
def test_a_list_needs_no_filter_where_nothing_is_hidden_or_all_is_monitored(
    bundle: Any, options: dict[str, Any]
) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert not world.gate.filters

    run(test, {"bundle": bundle, "hidden": ["b"]}, **options)


CLASSED = "{list: callable, classes: {Read: {rules: [{action: deny}]}}, tools: "
CALLABLE = "{list: callable, tools: {a: {rules: [{action: deny}]}}}"


def test_a_list_of_callable_tools_needs_a_filter_although_nothing_is_hidden() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert world.gate.filters
        assert await hidden(world, "a", "b") == frozenset({"a"})

    run(test, {"bundle": bundle_of(CALLABLE), "hidden": ["a"]})


def test_a_list_of_callable_tools_needs_none_in_monitor_mode() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert not world.gate.filters

    run(test, {"bundle": bundle_of(CALLABLE)}, mode="monitor")


@pytest.mark.parametrize(("policy", "other"), [
    (CALLABLE, "{list: callable, tools: {a: {rules: [{action: allow}]}}}"),
    (CALLABLE, "{list: callable, tools: {a: {rules: [{action: deny, mode: monitor}]}}}"),
    (CALLABLE, "{list: callable, default: deny, tools: {a: {rules: [{action: deny}]}}}"),
    (CALLABLE, "{list: callable, tools: {a: {rules: [{action: deny}]}, b: {rules: [{action: deny}]}}}"),
    (CALLABLE, "{tools: {a: {rules: [{action: deny}]}}}"),
    (CALLABLE, "{list: callable, hide: [b], tools: {a: {rules: [{action: deny}]}}}"),
    ("{list: callable}", "{list: callable, default: deny}"),
    ("{list: callable, default: deny, tools: {a: }}", "{list: callable, default: deny, tools: {a: , b: }}"),
    ("{list: callable, tools: {'*': {rules: [{action: deny}]}}}", "{list: callable, tools: {'*': }}"),
    (f"{CLASSED}{{'a*': {{class: Read}}, ab: }}}}", f"{CLASSED}{{'a*': {{class: Read}}, ab: {{class: Write}}}}}}"),
])  # fmt: skip
def test_another_list_is_noticed_between_two_policies(policy: str, other: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert world.gate.withheld_by(bundle_of(policy)) != world.gate.withheld_by(bundle_of(other))

    run(test)


def test_the_same_list_of_callable_tools_is_not_another_one() -> None:
    async def test(world: GateBetweenFakes) -> None:
        more = bundle_of("{list: callable, tools: {a: {rules: [{action: deny, reason: Never}, {rate_limit: 5/day}]}}}")
        assert world.gate.withheld_by(bundle_of(CALLABLE)) == world.gate.withheld_by(more)

    run(test)


def test_the_option_enforce_filters_whatever_the_policy_says() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert world.gate.filters
        assert await hidden(world, "a", "b") == frozenset({"b"})

    run(test, {"bundle": bundle_of("{hide: [b], mode: monitor, tools: {}}"), "hidden": ["b"]}, mode="enforce")


def test_the_engine_is_not_asked_about_a_list_that_is_larger_than_a_question_may_be() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await hidden(world, "x" * MAX_QUESTION) is None
        assert world.engine.asked == []

    run(test, {"bundle": HIDING})


def test_the_engine_is_asked_about_one_large_list_at_a_time_and_about_small_ones_meanwhile() -> None:
    async def test(world: GateBetweenFakes) -> None:
        world.engine.go.clear()
        delivered: list[frozenset[str] | None] = []
        for tools in (["a" * LARGE], ["b" * LARGE], ["small"]):
            world.gate.filter(tools, delivered.append)
        for _ in range(10):
            await asyncio.sleep(0)
        assert [asked["tools"][0][0] for asked, _, _ in world.engine.asked] == ["a", "s"]
        world.engine.go.set()
        await world.gate.finish()
        assert [asked["tools"][0][0] for asked, _, _ in world.engine.asked] == ["a", "s", "b"]
        assert delivered == [frozenset()] * 3

    run(test, {"bundle": HIDING})


@pytest.mark.parametrize("kind", ["timeout", "connection", "shape", "revision"])
def test_without_a_usable_answer_nobody_can_tell(kind: str) -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await hidden(world, "a") is None

    run(test, {"bundle": HIDING, "error": EngineUnavailable(kind, "no answer")})


def test_a_superseded_question_is_put_anew_under_the_newer_policy() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await hidden(world, "b", "c") == frozenset({"c"})
        assert [bundle for _, bundle, _ in world.engine.asked] == [HIDING, NEWER[0]]

    run(test, {"bundle": HIDING, "newer": NEWER[:1], "hidden": ["c"]})


def test_when_the_policy_changes_too_often_nobody_can_tell() -> None:
    async def test(world: GateBetweenFakes) -> None:
        assert await hidden(world, "a") is None
        assert len(world.engine.asked) == MAX_ATTEMPTS

    run(test, {"bundle": HIDING, "newer": NEWER})
