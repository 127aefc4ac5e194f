"""Remembered decisions on the wire: used only for the very same question under the same policy, and said to be."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.support import OPA
from tests.support.opa_tap import OpaTap
from tests.support.peer import AS_A_USER, TELEMETRY, Sidecar, child_pids, command_line, kind, stopped, until
from tests.support.straight import Straight, over, passed
from tests.wire.test_engine_lost import Breakable

POLICY = """
tools:
  t:
    rules:
      - {name: small, conditions: [{path: args.a, op: lte, value: 100}], reason: Too much}
  counted:
    rules:
      - {name: three, rate_limit: 3/day}
  watching:
    rules:
      - {name: watch, conditions: [{path: state.counted._rate_day, op: lt, value: 2}], reason: Enough}
"""


def last(way: Straight) -> dict[str, Any]:
    """The last line of the audit trail."""
    return way.audit[-1]


def until_remembered(way: Straight, **arguments: Any) -> None:
    """Make a call that passes until its answer is remembered: while the engine proves itself alive it is not."""
    until(lambda: passed(way.call("t", **arguments)) and last(way)["remembered"], what="a remembered decision")


def test_with_no_remember_every_call_is_asked_about(tmp_path: Path, tap: OpaTap) -> None:
    with over("stdio", tmp_path, POLICY, *tap.options, "--no-remember") as way:
        for _ in range(10):
            way.passes("t", a=1)
            assert kind(way.call("t", a=101)) == "rule"
        assert tap.asked("t") == 20
        assert not any(line["remembered"] for line in way.audit)


def test_a_call_that_comes_again_is_sent_on_byte_for_byte_and_told_under_its_own_id(tmp_path: Path) -> None:
    line = (
        b'{"method":"tools/call","params":{"name":"t","arguments":{"a":1,"id":7,"note":"%b"}},"jsonrpc":"2.0","id":%d}'
    )
    lines = [
        line % (note, id_) for note, id_ in [(b"x", 7), (b"x", 8), (b"y", 9), (b"x", 10), (b"x", 123_456), (b"y", 0)]
    ]
    with Sidecar(tmp_path, POLICY) as sidecar:
        for each in lines:
            sidecar.send_bytes(each + b"\n")
            assert sidecar.read()["id"] == json.loads(each)["id"]
        assert [each.encode() for each in sidecar.received] == lines
        told = sidecar.audit
    assert len({each["decision_id"] for each in told}) == len(lines)
    hashes = [each["arguments_hash"] for each in told]
    assert [hashes.index(each) for each in hashes] == [0, 0, 2, 0, 0, 2]


def test_a_remembered_decision_is_gone_with_the_policy_that_made_it(way: Straight, tap: OpaTap) -> None:
    until_remembered(way, a=50)
    assert kind(way.call("t", a=101)) == "rule"
    for most, wanted in (("40", "rule"), ("60", None), ("40", "rule"), ("100", None)):
        said = way.program.errors.count("the changed policy is in force")
        way.policy.write_text(POLICY.replace("100", most))
        until(lambda: way.program.errors.count("the changed policy is in force") > said)  # noqa: B023 - used at once
        tap.forget()
        assert kind(way.call("t", a=50)) == wanted
        assert (last(way)["remembered"], tap.asked("t")) == (False, 1)


def test_a_decision_by_a_counter_that_a_rule_reads_is_never_remembered(way: Straight, tap: OpaTap) -> None:
    for wanted in (None, None, "rule"):
        assert [kind(way.call("watching")) for _ in range(3)] == [wanted] * 3
        way.passes("counted")
    assert tap.asked("watching") == 9
    assert not any(line["remembered"] for line in way.audit if line.get("tool") == "watching")


def test_a_remembered_decision_is_counted_each_time(way: Straight, tap: OpaTap) -> None:
    assert [kind(way.call("counted")) for _ in range(5)] == [None] * 3 + ["rate_limit"] * 2
    assert tap.asked("counted") <= 2


def test_arguments_that_only_look_the_same_are_other_questions(way: Straight, tap: OpaTap) -> None:
    until_remembered(way, a=1)
    tap.forget()
    for value in (1.0, "1", True, [1], {"a": 1}, None):
        assert kind(way.call("t", a=value)) == (None if value == 1 and type(value) is float else "rule")
        assert not last(way)["remembered"]
    assert kind(way.call("t")) == "rule"
    assert tap.asked("t") == 7
    assert way.call("t", a=1, A=200)["error"]["code"] == -32602
    way.passes("t", a=1, b=200)
    assert tap.asked("t") == 7


def test_the_metrics_say_which_decisions_were_remembered(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        sidecar.initialize()
        for _ in range(5):
            assert kind(sidecar.call("t", {"a": 1})) is None
            assert kind(sidecar.call("t", {"a": 101})) == "rule"
        assert sidecar.call("t", {"a": 1, "A": 1})["error"]["code"] == -32602
        remembered = [line["remembered"] for line in sidecar.audit if line.get("tool") == "t"]
        hits, misses = remembered.count(True), remembered.count(False)
        assert hits + misses == 10
        assert hits > 0
        assert sidecar.metric("decisions_total", tool="t", cache="hit") == hits
        assert sidecar.metric("decisions_total", tool="t", cache="miss") == misses
        assert sidecar.metric("decisions_total", cache="none") == 1
        assert sidecar.metric("decision_duration_seconds_count", phase="total", cache="hit") == hits
        # Only those that were asked about took time of the engine.
        assert sidecar.metric("decision_duration_seconds_count", phase="engine") == misses


# An engine that is gone, over HTTP; over stdio: test_engine_lost.


def test_over_http_nothing_remembered_is_used_from_the_moment_the_engine_is_killed(tmp_path: Path) -> None:
    breakable = Breakable(tmp_path)
    with over("http", tmp_path, POLICY, "--opa-bin", str(breakable.path)) as way:
        until_remembered(way, a=1)
        before = len(way.arrived)
        breakable.kill(opa_of(way))
        assert [kind(way.call("t", a=1)) for _ in range(5)] == ["engine_unavailable"] * 5
        assert len(way.arrived) == before
        breakable.mend()
        until(lambda: passed(way.call("t", a=1)))


def test_over_http_nothing_remembered_is_used_after_a_second_of_an_engine_that_hangs(tmp_path: Path) -> None:
    with over("http", tmp_path, POLICY, *AS_A_USER) as way:
        until_remembered(way, a=1)
        with stopped(opa_of(way)):
            since = time.monotonic()
            until(lambda: time.monotonic() - since > 1.0 or not passed(way.call("t", a=1)))
            before = len(way.arrived)
            assert [kind(way.call("t", a=1)) for _ in range(3)] == ["engine_unavailable"] * 3
            assert len(way.arrived) == before
        until(lambda: passed(way.call("t", a=1)))


def opa_of(way: Straight) -> int:
    """The process id of the OPA that a sidecar started."""
    (pid,) = [pid for pid in child_pids(way.pid) if str(OPA) in command_line(pid)]
    return pid
