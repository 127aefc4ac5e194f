"""What is left of limits: one counter is one series, worked out for the moment at which it is asked."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from sidecar.decision.decision import Reserve
from sidecar.ledger import names
from sidecar.ledger.protocol import Claim
from sidecar.ledger.sliding import SLICES
from sidecar.ledger.values import Amount, Entry, Reservation
from sidecar.observe.metrics.instruments import Instruments
from sidecar.observe.metrics.limits import MAX_HOLDERS, MAX_LIMITS, LimitMetrics
from sidecar.observe.metrics.names import Names
from sidecar.observe.metrics.rules import RuleMetrics
from sidecar.policy.bundle import Bundle
from tests.engine.asking import bundle_of

POLICY = bundle_of("""
tools:
  pay:
    rules:
      - {name: per minute, rate_limit: 5/minute}
      - {name: of session, rate_limit: {max: 9, window: minute, scope: session}}
      - {name: any hour, rate_limit: {max: 60, window: hour, scope: global, sliding: true}}
      - {name: spent, spend_limit: {path: args.amount, max: 100.5, window: hour}}
  refund: {rules: [{name: watched, rate_limit: 2/minute, mode: monitor}]}
  "get_*": {rules: [{name: reads, rate_limit: 3/minute}]}
  "*": {rules: [{name: all, rate_limit: 10/minute}]}
""")


class World:
    """The metrics of limits under a policy, at a time that a test sets."""

    def __init__(self, policy: Bundle = POLICY) -> None:
        self.now = 1_200_000.0
        self.policy = policy
        self.names = Names()
        made = Instruments(CollectorRegistry(), "", ("server",))
        self.rules = RuleMetrics(made, "stub", self.names)
        self.limits = LimitMetrics(made, "stub", self.names, self.rules, lambda: self.now)
        self.adopt(policy)

    def adopt(self, policy: Bundle) -> None:
        self.policy = policy
        for part in (self.names, self.rules, self.limits):
            part.activate(policy.terms)

    def entry(self, rule: str, holder: str = "", tool: str = "") -> Entry:
        """What a call takes now from the counter of a rule."""
        limit = next(one for one in self.policy.terms.limits if one.rule == rule)
        length = limit.window / SLICES if limit.sliding else limit.window
        start = int(self.now // length) * (1 if limit.sliding else limit.window)
        name = names.of_tool(limit.counter, tool) if limit.each_tool else limit.counter
        return Entry(Reservation(f"stub/{name}", holder, limit.window, 1, None, sliding=limit.sliding), start)

    def count(self, rule: str, total: Amount, tool: str = "pay", holder: str = "") -> None:
        """A call was counted by a rule, after which the counter stands at `total`."""
        limit = next(one for one in self.policy.terms.limits if one.rule == rule)
        most = Decimal(str(limit.limit))
        item = Reserve(limit.counter, 1, most, limit.window, "global", rule, "", "", each_tool=limit.each_tool)
        self.limits.counted((item,), Claim((self.entry(rule, holder, tool),), (total,)), tool)

    def shown(self, name: str = "limit_remaining") -> dict[tuple[str, str], float]:
        """What a gauge shows, by tool and rule."""
        (family,) = (found for found in self.limits.collect() if found.name == name)
        shown = {(sample.labels["tool"], sample.labels["rule"]): sample.value for sample in family.samples}
        assert len(shown) == len(family.samples)
        return shown


def test_a_limit_that_no_call_has_touched_shows_all_of_it() -> None:
    world = World()
    every = {
        ("pay", "per minute"): 5, ("pay", "of session"): 9, ("pay", "any hour"): 60, ("pay", "spent"): 100.5,
        ("refund", "watched"): 2, ("get_*", "reads"): 3, ("*", "all"): 10,
    }  # fmt: skip
    assert world.shown("limit_max") == world.shown() == every


def test_a_counter_of_all_tools_is_one_series_with_its_newest_value() -> None:
    world = World()
    for number, tool in enumerate(["pay", "refund", "made up", "pay"], 1):
        world.count("all", number, tool)
    assert world.shown()["*", "all"] == 6
    assert [labels for labels in world.shown() if labels[1] == "all"] == [("*", "all")]


def test_a_counter_of_a_pattern_is_one_series_under_its_pattern() -> None:
    world = World()
    world.count("reads", 1, "get_a")
    world.count("reads", 2, "get_b")
    assert world.shown()["get_*", "reads"] == 1


def test_once_the_window_is_over_all_of_it_is_there_again() -> None:
    world = World()
    world.count("per minute", 5)
    assert world.shown()["pay", "per minute"] == 0
    world.now += 59
    assert world.shown()["pay", "per minute"] == 0
    world.now += 1
    assert world.shown()["pay", "per minute"] == 5
    world.count("per minute", 1)
    assert world.shown()["pay", "per minute"] == 4


def test_the_end_of_the_window_of_now_is_told() -> None:
    world = World()
    name = "limit_resets_timestamp_seconds"
    assert world.shown(name)["pay", "per minute"] == 1_200_060
    world.now += 61
    assert world.shown(name)["pay", "per minute"] == 1_200_120


def test_a_sliding_window_is_whole_once_everything_has_fallen_out() -> None:
    world = World()
    name = "limit_resets_timestamp_seconds"
    assert world.shown(name)["pay", "any hour"] == world.now
    world.count("any hour", 20)
    end = world.shown(name)["pay", "any hour"]
    assert world.now + 3600 <= end <= world.now + 3660
    assert world.shown()["pay", "any hour"] == 40
    world.now = end - 1
    assert world.shown()["pay", "any hour"] == 40
    world.now = end
    assert world.shown()["pay", "any hour"] == 60


def test_of_the_counters_of_sessions_the_least_that_is_left_is_shown() -> None:
    world = World()
    world.count("of session", 2, holder="s1")
    world.count("of session", 7, holder="s2")
    world.count("of session", 3, holder="s1")
    assert world.shown()["pay", "of session"] == 2
    world.now += 60
    world.count("of session", 1, holder="s1")
    assert world.shown()["pay", "of session"] == 8


def test_what_a_call_gives_back_is_there_again_in_its_own_window_only() -> None:
    world = World()
    world.count("per minute", 3)
    old = world.entry("per minute")
    world.limits.given_back([old])
    assert world.shown()["pay", "per minute"] == 3
    world.now += 60
    world.count("per minute", 1)
    world.limits.given_back([old])
    assert world.shown()["pay", "per minute"] == 4


def test_a_rule_that_only_reports_goes_below_0() -> None:
    world = World()
    world.count("watched", 5, "refund")
    assert world.shown()["refund", "watched"] == -3


def test_amounts_are_exact_where_they_are_counted() -> None:
    world = World()
    world.count("spent", Decimal("100.4"))
    assert world.shown()["pay", "spent"] == pytest.approx(0.1)


def test_a_reload_takes_limits_away_with_their_series_and_keeps_what_others_counted() -> None:
    world = World()
    world.count("per minute", 4)
    world.count("all", 4)
    world.adopt(bundle_of("tools: {'*': {rules: [{name: all, rate_limit: 20/minute}]}}", serial=2))
    assert world.shown() == {("*", "all"): 16}
    world.count("all", 5)
    assert world.shown() == {("*", "all"): 15}


def test_a_limit_with_another_window_counts_anew() -> None:
    world = World()
    world.count("all", 4)
    world.adopt(bundle_of("tools: {'*': {rules: [{name: all, rate_limit: 10/hour}]}}", serial=2))
    assert world.shown() == {("*", "all"): 10}


CLASSED = bundle_of("""
classes: {Write: {rules: [{name: own, rate_limit: 3/minute}]}}
tools: {"x_*": {class: Write}, x_1: {class: Write, rules: [{name: own, rate_limit: 9/minute}]}}
""")


def test_a_counter_that_counts_each_tool_by_itself_is_one_series_for_each_that_was_called() -> None:
    world = World(CLASSED)
    (each,) = (limit for limit in CLASSED.terms.limits if limit.each_tool)
    assert each.tool == "x_*"
    world.names.know(["x_2", "x_3"])
    item = Reserve(each.counter, 1, 3, 60, "global", "own", "", "", each_tool=True)
    for tool, total in (("x_2", 1), ("x_3", 2), ("x_2", 2), ("made up", 3)):
        taken = Reservation("stub/" + names.of_tool(each.counter, tool), "", 60, 1, 3)
        world.limits.counted((item,), Claim((Entry(taken, 1_200_000),), (total,)), tool)
    shown = world.shown()
    assert (shown["x_2", "own"], shown["x_3", "own"], shown["_other", "own"]) == (1, 1, 0)


holders = st.integers(0, 3 * MAX_HOLDERS)
steps = st.lists(st.tuples(holders, st.integers(1, 9), st.sampled_from([0, 0, 0, 30, 60])), max_size=400)


@given(steps)
def test_the_least_is_right_however_many_sessions_there_are(calls: list[tuple[int, int, int]]) -> None:
    world = World()
    totals: dict[int, int] = defaultdict(int)
    for holder, by, passes in calls:
        window = world.now // 60
        world.now += passes
        if world.now // 60 != window:
            totals.clear()
        totals[holder] += by
        world.count("of session", totals[holder], holder=f"s{holder}")
    if calls:
        assert world.shown()["pay", "of session"] == 9 - max(totals.values())


def test_a_flood_of_sessions_and_tools_adds_no_series_and_keeps_few_counters() -> None:
    world = World()
    before = world.shown()
    for number in range(3_000):
        world.count("of session", 1 + number % 7, holder=f"s{number}")
        world.count("all", 1, f"tool {number}")
    assert world.shown().keys() == before.keys()
    assert world.shown()["pay", "of session"] == 2
    assert world.limits.kept <= MAX_HOLDERS + 1


class Looked(dict[Any, Any]):
    """Counts how often all of it is looked through."""

    times = 0

    def items(self) -> Any:
        self.times += 1
        return super().items()


def test_sessions_that_get_no_room_are_not_compared_with_all_that_have_it_each_time() -> None:
    world = World()
    for number in range(MAX_HOLDERS):
        world.count("of session", 5, holder=f"s{number}")
    (series,) = (one for one in world.limits._series.values() if one.limit.rule == "of session")
    series.counters = looked = Looked(series.counters)
    for number in range(1_000):
        world.count("of session", 4, holder=f"other {number}")
    assert looked.times == 1
    world.limits.given_back([world.entry("of session", holder="s7")] * 2)
    world.count("of session", 4, holder="new")
    assert looked.times == 2
    assert world.shown()["pay", "of session"] == 4


def test_a_flood_of_tools_that_are_counted_each_by_itself_gets_a_bounded_number_of_series() -> None:
    rules = "".join(f"{{name: r{number}, rate_limit: {{max: 9, window: {60 + number}s}}}}, " for number in range(4))
    world = World(bundle_of(f"classes: {{Write: {{rules: [{rules}]}}}}\ntools: {{'x_*': {{class: Write}}}}"))
    world.names.know(f"x_{number}" for number in range(400))
    for number in range(400):
        for rule in range(4):
            world.count(f"r{rule}", 1, f"x_{number}")
    assert MAX_LIMITS <= len(world.shown()) <= MAX_LIMITS + 4
