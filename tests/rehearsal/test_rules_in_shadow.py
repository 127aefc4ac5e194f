"""Rules in shadow, beside any policy: no decision, no reason, no counter and no list is another for them."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.auth.caller import Caller
from sidecar.auth.principal import Principal
from sidecar.policy.bundle import Bundle
from sidecar.rehearsal.judging import Judgement, rehearsal
from tests.policy import drawing
from tests.policy.drawing import Call
from tests.policy.evaluator import is_only_tried
from tests.policy.test_agreement import EXACT, arguments_of, ask_visible, bundle_of
from tests.support import OPA

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
CALLERS = (Caller("s1"), Caller("s2", principal=Principal("ann", claims={"a": {"b": 5}})))


@st.composite
def shadow_rules(draw: st.DrawFn, entry: str, at_most: int = 3) -> list[dict[str, Any]]:
    """Rules of every kind, in shadow, with names that no other rule has."""
    rules = [dict(draw(kind)) for kind in draw(st.lists(st.sampled_from(drawing.KINDS), min_size=1, max_size=at_most))]
    for at, rule in enumerate(rules):
        rule |= {"name": f"tried {at}", "mode": "shadow"}
    return drawing.without_double_counters([drawing.with_own_limits(entry, rule) for rule in rules])


@st.composite
def with_shadow(draw: st.DrawFn, policy: dict[str, Any]) -> dict[str, Any]:
    """The policy with rules in shadow: beside others, in classes, and as entries of their own."""
    tools = dict(policy["tools"])
    for name, said in tools.items():
        if said.get("rules") and not is_only_tried(said) and draw(st.booleans()):
            tools[name] = {**said, "rules": [*said["rules"], *draw(shadow_rules(name))]}
    more = st.sampled_from([*drawing.TOOLS, *drawing.GLOBS, "*", "Odd\u200b", " a"])
    for name in draw(st.lists(more, min_size=1, max_size=3, unique=True)):
        if name not in tools:
            tools[name] = {"rules": draw(shadow_rules(name))}
    classes = {
        risk: {"rules": [*said["rules"], *draw(shadow_rules("_class"))]} if draw(st.booleans()) else said
        for risk, said in policy.get("classes", {}).items()
    }
    return {**policy, "tools": tools} | ({"classes": classes} if classes else {})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What becomes of calls, where the counters stand that are not in shadow, how many approvals wait, and the list."""

    judged: list[tuple[Any, ...]]
    counters: list[tuple[Any, ...]]
    asked: int
    shown: list[str]


async def outcome(bundle: Bundle, calls: list[Call]) -> Outcome:
    async with rehearsal(bundle, OPA) as judging:
        found = [
            _without_shadow(await judging.judge(call.tool, arguments_of(call), CALLERS[at % 2]))
            for at, call in enumerate(calls)
        ]
        (path,) = judging._folder.glob("*.db")
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            counters = db.execute("SELECT counter, holder, window, total FROM counters ORDER BY 1, 2, 3").fetchall()
            (asked,) = db.execute("SELECT count(*) FROM approvals").fetchone()
    kept = [row for row in counters if "._rate_shadow" not in row[0] and "._rate_spend,shadow" not in row[0]]
    tools = [*drawing.TOOLS, *drawing.UNLISTED, "get.x.y"]
    return Outcome(found, kept, asked, list(ask_visible(bundle, tools).visible))


def _without_shadow(judged: Judgement) -> tuple[Any, ...]:
    said = tuple(item for item in judged.violations if not item.shadow)
    return judged.action, judged.kind, judged.rule, judged.reason, said, judged.forwarded


@settings(EXACT, max_examples=25)
@given(st.data())
def test_whatever_is_tried_in_shadow_changes_nothing(data: st.DataObject) -> None:
    policy, calls = data.draw(drawing.examples())
    tried = data.draw(with_shadow(policy))
    odd = [Call(tool, {}) for tool in ("Odd\u200b", " a")]
    calls = [*calls, *data.draw(st.lists(drawing.calls_of(tried), max_size=4)), *calls, *odd]
    one, other = asyncio.run(_both(policy, tried, calls))
    assert other == one


async def _both(policy: dict[str, Any], tried: dict[str, Any], calls: list[Call]) -> tuple[Outcome, Outcome]:
    return await outcome(bundle_of(policy), calls), await outcome(bundle_of(tried), calls)
