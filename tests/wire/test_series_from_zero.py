"""What is counted stands at 0 before the first call, on the wire: the first of each decision is an increase.

And what stands at 0 can be counted: no series is shown that no call could ever have.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.support.peer import AS_A_USER, TELEMETRY, Sidecar, stopped

POLICY = """\
default: deny
hide: [secret, "inner_*"]
tools:
  free: {rules: []}
  never: {rules: [{name: no, action: deny}]}
  small: {rules: [{name: few, conditions: [{path: args.n, op: lt, value: 5}]}]}
  twice: {rules: [{name: two, rate_limit: 2/day}]}
  pay: {rules: [{name: purse, spend_limit: {path: args.n, per_call: 5, max: 6, window: day}}]}
  ask: {rules: [{action: require_approval}]}
  both: {rules: [{name: first, action: deny}, {name: unreached, action: deny}]}
  reads: {rules: [{name: after two, conditions: [{path: state.twice._rate_day, op: gte, value: 2}]}]}
  "get_*": {rules: [{name: plain, conditions: [{path: args.q, op: exists, value: false}]}]}
"""
LABELS = ("tool", "decision", "kind", "rule", "cache")
"""The labels of a series of `decisions_total` that are compared here, in this order."""
Labels: TypeAlias = tuple[str, ...]
Trouble: TypeAlias = Callable[[Sidecar], AbstractContextManager[Any]]


def decisions(sidecar: Sidecar, mode: str = "enforce") -> dict[Labels, float]:
    """Every series of `decisions_total`, all of which must be of this mode."""
    found = [one for one in sidecar.metrics if one.name == "mcp_policy_decisions_total"]
    judged = [one for one in found if one.labels["kind"] != "invalid_request"]
    assert {one.labels["mode"] for one in judged} == {mode}
    return {tuple(one.labels[name] for name in LABELS): one.value for one in judged}


def raised(sidecar: Sidecar, tool: str, arguments: Any = None, mode: str = "enforce") -> Labels:
    """The one series that a call raises; it was there before."""
    before = decisions(sidecar, mode)
    sidecar.call(tool, arguments or {})
    after = decisions(sidecar, mode)
    assert after.keys() == before.keys()
    (found,) = [labels for labels, count in after.items() if count != before[labels]]
    assert (before[found], after[found]) == (0, 1)
    return found


def no_trouble(_: Sidecar) -> AbstractContextManager[Any]:
    return nullcontext()


def no_engine(sidecar: Sidecar) -> AbstractContextManager[Any]:
    return stopped(sidecar.opa)


def no_store(sidecar: Sidecar) -> AbstractContextManager[Any]:
    """The store of counters, held by somebody else until this is closed."""
    connection = sqlite3.connect(sidecar.state / "counters.db", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    return closing(connection)


FIRST: list[tuple[str, dict[str, Any], str, str]] = [
    ("free", {}, "allow", ""), ("never", {}, "rule", "no"), ("small", {"n": 9}, "rule", "few"),
    ("small", {"n": 1}, "allow", ""),
    ("secret", {}, "hidden", "(hidden)"), ("inner_x", {}, "hidden", "(hidden)"),
    ("unheard", {}, "default_deny", "(default deny)"), ("get_x", {}, "allow", ""), ("get_x", {"q": 1}, "rule", "plain"),
    ("twice", {}, "allow", ""), ("pay", {"n": 9}, "spend_limit", "purse"), ("pay", {}, "invalid_amount", "purse"),
    ("pay", {"n": 4}, "allow", ""), ("ask", {}, "approval_required", "ask#1"), ("both", {}, "rule", "first"),
    ("reads", {}, "rule", "after two"),
]  # fmt: skip
"""Calls, each the first of its kind, what is decided, and by which rule."""


def label_of(tool: str) -> str:
    return "_other" if tool in ("inner_x", "unheard", "get_x") else tool


def test_the_first_decision_of_each_kind_raises_a_series_that_was_there_at_0(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        assert set(decisions(sidecar).values()) == {0}
        for tool, arguments, kind, rule in FIRST:
            decision = "allow" if kind == "allow" else "deny"
            assert raised(sidecar, tool, arguments) == (label_of(tool), decision, kind, rule, "miss")
        sidecar.call("twice", {})
        assert raised(sidecar, "twice", {}) == ("twice", "deny", "rate_limit", "two", "hit")


def test_so_does_the_first_that_is_remembered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        for tool in ("free", "never", "secret", "unheard", "ask"):
            sidecar.call(tool, {})
            assert raised(sidecar, tool)[4] == "hit"


@pytest.mark.parametrize(("trouble", "tool", "kind"), [
    (no_engine, "free", "engine_unavailable"), (no_engine, "ask", "engine_unavailable"),
    (no_engine, "unheard", "engine_unavailable"), (no_store, "twice", "store_unavailable"),
    (no_store, "ask", "store_unavailable"),
])  # fmt: skip
def test_so_does_the_first_that_fails(trouble: Trouble, tool: str, kind: str, tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY, *AS_A_USER) as sidecar, trouble(sidecar):
        assert raised(sidecar, tool) == (label_of(tool), "deny", kind, "", "miss")


def test_so_does_the_first_that_passes_uncounted(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY, "--state-fail-mode", "open") as sidecar, no_store(sidecar):
        assert raised(sidecar, "twice") == ("twice", "allow", "store_unavailable", "", "miss")


def test_in_the_mode_that_the_operator_chose(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY, "--mode", "monitor") as sidecar:
        for tool, arguments, kind, rule in FIRST:
            assert raised(sidecar, tool, arguments, "monitor")[2:4] == (kind, rule)


def test_under_a_policy_that_came_later_and_what_only_the_old_one_had_is_gone(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        sidecar.call("never", {})
        newer = tmp_path / "newer.yaml"
        newer.write_text("default: allow\ntools: {never: {rules: [{name: new, action: deny}]}}\n")
        newer.replace(tmp_path / "policy.yaml")
        sidecar.wait_for_error("the changed policy is in force")
        found = decisions(sidecar)
        assert {labels[0] for labels in found} == {"never", "_other"}
        assert [labels for labels, count in found.items() if count] == [("never", "deny", "rule", "no", "miss")]
        assert raised(sidecar, "never") == ("never", "deny", "rule", "new", "miss")
        assert raised(sidecar, "unheard") == ("_other", "allow", "allow", "", "miss")


EVERY = """\
default: deny
hide: [secret]
tools:
  never: {rules: [{name: no, action: deny}, {name: unreached, action: deny}]}
  watched: {rules: [{name: see, action: deny, mode: monitor}]}
  open: {rules: [{action: allow}, {name: counted, state: {counter: n, window: day}}]}
  twice: {rules: [{name: two, rate_limit: 2/day}]}
  pay: {rules: [{name: purse, spend_limit: {path: args.n, max: 6, window: day}}]}
"""


def test_every_series_that_is_there_can_be_raised(tmp_path: Path) -> None:
    with Sidecar(tmp_path, EVERY, *TELEMETRY, *AS_A_USER, "--no-remember") as sidecar:
        tools = ("secret", "never", "watched", "open", "twice", "pay", "unheard")
        for tool in tools:
            for n in (1, 5, 1, None):
                sidecar.call(tool, {"n": n})
        with no_store(sidecar):
            for tool in tools:
                sidecar.call(tool, {"n": 1})
        with no_engine(sidecar):
            for tool in tools:
                sidecar.call(tool, {"n": 1})
        assert [labels for labels, count in decisions(sidecar).items() if not count] == []


def test_the_first_message_and_the_time_of_the_first_call_are_increases_too(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY + "methods: {deny: [prompts/list]}\n", *TELEMETRY) as sidecar:
        counts = {
            "requests_total": {"method": "initialize"}, "decision_duration_seconds_count": {"phase": "total"},
            "upstream_duration_seconds_count": {"tool": "free"}, "calls_settled_total": {"tool": "free"},
            "denied_methods_total": {"method": "prompts/list"},
        }  # fmt: skip
        samples = sidecar.metrics
        for name, labels in counts.items():
            found = [
                one for one in samples if one.name == f"mcp_policy_{name}" and labels.items() <= one.labels.items()
            ]
            assert found, name
            assert {one.value for one in found} == {0}
        there = {(one.name, tuple(one.labels.items())) for one in samples}
        sidecar.initialize()
        sidecar.request("prompts/list")
        sidecar.call("free", {})
        for name, labels in counts.items():
            assert sidecar.metric(name, **labels) == 1
        new = {one.name for one in sidecar.metrics if (one.name, tuple(one.labels.items())) not in there}
        assert new == {"mcp_policy_agent_decisions_total"}
        tools = {one.labels["tool"] for one in samples if one.name == "mcp_policy_calls_settled_total"}
        assert tools == {"free", "small", "twice", "pay", "ask", "reads", "_other"}
