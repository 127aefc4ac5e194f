"""Calls that arrive together with the same question: one question to the engine, and to each call its own verdict."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.opa_tap import OpaTap
from tests.support.peer import TELEMETRY, kind, until
from tests.support.straight import PATHS, Straight, over, passed

CALLS = 20
POLICY = """
tools:
  t:
    rules:
      - {name: small, conditions: [{path: args.a, op: lte, value: 100}], reason: Too much}
  once:
    rules:
      - {name: twelve, rate_limit: 12/day}
"""
SAME = [("t", {"a": 1})] * CALLS


def told(way: Straight, tool: str) -> list[dict[str, Any]]:
    """The decisions on a tool in the audit trail, each under an id of its own."""
    lines = [line for line in way.audit if line.get("tool") == tool]
    assert len({line["decision_id"] for line in lines}) == len(lines)
    return lines


def test_calls_that_pass_are_asked_about_once_and_each_is_forwarded_answered_and_told(
    way: Straight, tap: OpaTap
) -> None:
    with tap.holding():
        ids = way.post_and_wait(SAME, tap)
    assert all(map(passed, way.replies(ids)))
    assert way.arrived == ids[:-1]
    assert [line["decision"] for line in told(way, "t")] == ["allow"] * CALLS
    assert tap.asked("t") == 1


def test_calls_that_a_rule_refuses_are_asked_about_once_and_each_is_refused_and_told(
    way: Straight, tap: OpaTap
) -> None:
    with tap.holding():
        ids = way.post_and_wait([("t", {"a": 101})] * CALLS, tap)
    assert [kind(reply) for reply in way.replies(ids)[:-1]] == ["rule"] * CALLS
    assert way.arrived == []
    assert [(line["decision"], line["rule"]) for line in told(way, "t")] == [("deny", "small")] * CALLS
    assert tap.asked("t") == 1


def test_calls_with_one_question_are_each_counted(way: Straight, tap: OpaTap) -> None:
    with tap.holding():
        ids = way.post_and_wait([("once", {})] * CALLS, tap)
    kinds = dict(zip(ids, map(kind, way.replies(ids)), strict=True))
    allowed = [id_ for id_ in ids[:-1] if kinds[id_] is None]
    assert Counter(kinds.values()) == {None: 12 + 1, "rate_limit": CALLS - 12}
    assert way.arrived == allowed
    assert Counter(line["decision"] for line in told(way, "once")) == {"allow": 12, "deny": CALLS - 12}
    assert kind(way.call("once")) == "rate_limit"
    assert tap.asked("once") == 1


def test_only_the_very_same_question_is_shared(way: Straight, tap: OpaTap) -> None:
    values: list[dict[str, Any]] = [
        {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": True}, {"a": None}, {}, {"a": 101}, {"a": [1]}, {"a": {"a": 1}},
    ]  # fmt: skip
    with tap.holding():
        ids = way.post_and_wait([("t", value) for value in values * 3], tap)
    wanted = [None, None, "rule", "rule", "rule", "rule", "rule", "rule", "rule"]
    assert [kind(reply) for reply in way.replies(ids)[:-1]] == wanted * 3
    assert tap.asked("t") == len(values)


FAILURES = {
    "an error": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}",
    "no decision": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"no\r\n\r\n",
    "the end": b"",
}


@pytest.mark.parametrize("failure", FAILURES)
def test_when_their_question_fails_all_are_refused_and_the_next_is_asked_anew(
    way: Straight, tap: OpaTap, failure: str
) -> None:
    with tap.holding(FAILURES[failure]):
        ids = way.post_and_wait(SAME, tap)
    # The marker behind them has a question of its own, which may come to an engine that answers again.
    assert [kind(reply) for reply in way.replies(ids)[:-1]] == ["engine_unavailable"] * CALLS
    assert way.arrived == []
    lines = told(way, "t")
    assert [(line["kind"], line["remembered"]) for line in lines] == [("engine_unavailable", False)] * CALLS
    assert tap.asked("t") == 1
    until(lambda: passed(way.call("t", a=1)))


@pytest.mark.parametrize("path", PATHS)
def test_when_their_question_hangs_all_are_refused_and_its_late_answer_is_not_used(
    tmp_path: Path, tap: OpaTap, path: str
) -> None:
    with over(path, tmp_path, POLICY, *tap.options, "--opa-timeout", "500ms") as way:
        with tap.holding():
            ids = way.post(SAME)
            assert [kind(reply) for reply in way.replies(ids)] == ["engine_unavailable"] * CALLS
        assert way.arrived == []
        asked = tap.asked("t")
        until(lambda: passed(way.call("t", a=1)))
        assert not told(way, "t")[CALLS]["remembered"]
        assert (asked, tap.asked("t") > 1) == (1, True)


@pytest.mark.parametrize("which", [0, CALLS // 2, CALLS - 1], ids=["first", "middle", "last"])
def test_one_that_is_cancelled_does_not_spoil_the_others(way: Straight, tap: OpaTap, which: int) -> None:
    with tap.holding():
        ids = way.post_and_wait(SAME, tap)
        cancelled = ids.pop(which)
        way.cancel(cancelled)
    assert all(map(passed, way.replies(ids)))
    assert way.arrived == ids[:-1]
    until(lambda: len(told(way, "t")) == CALLS, what="the last line of the audit trail")
    assert Counter(line["kind"] for line in told(way, "t")) == {"allow": CALLS - 1, "cancelled": 1}
    assert tap.asked("t") == 1


def test_when_all_are_cancelled_none_is_forwarded_and_the_next_gets_its_verdict(way: Straight, tap: OpaTap) -> None:
    with tap.holding():
        *ids, marker = way.post_and_wait(SAME, tap)
        for id_ in ids:
            way.cancel(id_)
    assert all(map(passed, way.replies([marker])))
    way.passes("t", a=1)
    assert len(way.arrived) == 1
    until(lambda: len(told(way, "t")) == CALLS + 1, what="the last line of the audit trail")
    assert Counter(line["kind"] for line in told(way, "t")) == {"cancelled": CALLS, "allow": 1}


def test_when_the_policy_changes_meanwhile_all_are_judged_by_the_new_one(way: Straight, tap: OpaTap) -> None:
    with tap.holding():
        ids = way.post_and_wait(SAME, tap)
        way.policy.write_text(POLICY.replace("100", "0"))
        way.program.wait_for_error("the changed policy is in force")
    assert [kind(reply) for reply in way.replies(ids)[:-1]] == ["rule"] * CALLS
    assert way.arrived == []
    assert len({line["revision"] for line in told(way, "t")}) == 1
    assert tap.asked("t") == 2


@pytest.mark.parametrize("path", PATHS)
def test_a_sidecar_that_remembers_nothing_shares_nothing(tmp_path: Path, tap: OpaTap, path: str) -> None:
    with over(path, tmp_path, POLICY, *tap.options, *TELEMETRY, "--no-remember") as way:
        with tap.holding():
            ids = way.post_and_wait(SAME, tap)
        assert all(map(passed, way.replies(ids)))
        assert tap.asked("t") == CALLS
