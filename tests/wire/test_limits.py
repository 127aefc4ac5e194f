"""Limits on the wire: exact under concurrency, over several sidecars, across kill -9; given back only when due."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.test_sqlite import held
from tests.support.peer import Sidecar, denied, kind, until

IN_FLIGHT = 32


def limited(number: int, more: str = "") -> str:
    """A policy that allows the tool `t` so often a day."""
    return f"tools: {{t: {{rules: [{{name: day, rate_limit: {number}/day{more}}}]}}}}\n"


def session_limited(number: int) -> str:
    """A policy that allows the tool `t` so often a day and session."""
    return f"tools: {{t: {{rules: [{{rate_limit: {{max: {number}, window: day}}}}]}}}}\n"


def burst(sidecar: Sidecar, number: int) -> list[str | None]:
    """What becomes of many calls, always some in flight: None for each that passed, else the message."""
    waiting, outcomes = 0, []
    for _ in range(number):
        sidecar.post("tools/call", {"name": "t", "arguments": {"n": number}})
        waiting += 1
        if waiting == IN_FLIGHT:
            outcomes.append(denied(sidecar.read()))
            waiting -= 1
    return outcomes + [denied(sidecar.read()) for _ in range(waiting)]


@pytest.mark.parametrize("options", [(), ("--no-remember",)])
def test_exactly_as_many_as_the_limit_pass_with_many_in_flight(tmp_path: Path, options: tuple[str, ...]) -> None:
    with Sidecar(tmp_path, limited(100), *options) as sidecar:
        outcomes = burst(sidecar, 300)
        assert outcomes.count(None) == len(sidecar.received) == 100
        assert set(outcomes) == {None, "Rate limit of 100 per day reached. Try again later."}


def test_two_sidecars_on_one_store_together_let_exactly_the_limit_through(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with (
        Sidecar(tmp_path / "one", limited(150), state=tmp_path / "state") as one,
        Sidecar(tmp_path / "other", limited(150), state=tmp_path / "state") as other,
        ThreadPoolExecutor(2) as threads,
    ):
        outcomes = list(threads.map(lambda sidecar: burst(sidecar, 200), (one, other)))
        assert sum(outcome.count(None) for outcome in outcomes) == 150
        assert len(one.received) + len(other.received) == 150
        assert {message for outcome in outcomes for message in outcome if message} == {
            "Rate limit of 150 per day reached. Try again later."
        }


def test_a_limit_of_a_session_is_each_sidecars_own(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with (
        Sidecar(tmp_path / "one", session_limited(3), state=tmp_path / "state") as one,
        Sidecar(tmp_path / "other", session_limited(3), state=tmp_path / "state") as other,
    ):
        assert [burst(sidecar, 5).count(None) for sidecar in (one, other)] == [3, 3]


def test_servers_of_different_names_are_counted_apart(tmp_path: Path) -> None:
    for name in ("one", "other"):
        with Sidecar(tmp_path, limited(2), "--server", name) as sidecar:
            assert burst(sidecar, 3).count(None) == 2


def test_what_was_taken_stands_after_the_sidecar_is_killed_before_the_reply(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(3)) as sidecar:
        for _ in range(2):
            sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "mute"}})
        until(lambda: len(sidecar.received) == 2)
        sidecar.process.kill()
        sidecar.wait()
    with Sidecar(tmp_path, limited(3)) as sidecar:
        assert burst(sidecar, 3).count(None) == 1


def test_what_was_taken_stands_after_the_server_died_during_the_call(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(1, ", refund: on_failure")) as sidecar:
        assert "error" in sidecar.call("t", {"stub": "die"})
        assert sidecar.wait() == 7
    with Sidecar(tmp_path, limited(1, ", refund: on_failure")) as sidecar:
        assert denied(sidecar.call("t")) is not None


def test_what_was_taken_stands_when_the_client_cancels_a_forwarded_call(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(1)) as sidecar:
        id_ = sidecar.post("tools/call", {"name": "t", "arguments": {"stub": "mute"}})
        until(lambda: sidecar.received)
        sidecar.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}})
        assert denied(sidecar.call("t")) is not None


GIVEN_BACK: dict[str, set[str]] = {
    "": {"error", "input"},
    ", refund: not_run": {"error", "input"},
    ", refund: on_error": {"error", "input", "late"},
    ", refund: on_failure": {"error", "input", "late", "failure"},
    ", refund: never": set(),
}


@pytest.mark.parametrize("refund", GIVEN_BACK)
def test_what_a_call_took_is_given_back_as_its_rule_says(tmp_path: Path, refund: str) -> None:
    tools = ("error", "input", "late", "failure", "success")
    policy = "".join(f"  {tool}: {{rules: [{{rate_limit: 1/day{refund}}}]}}\n" for tool in tools)
    with Sidecar(tmp_path, f"tools:\n{policy}") as sidecar:
        for tool in tools:
            assert denied(sidecar.call(tool, {"stub": tool})) is None
            if tool in GIVEN_BACK[refund]:
                until(lambda: denied(sidecar.call(tool)) is None)  # noqa: B023 - used before the next turn
            else:
                assert denied(sidecar.call(tool)) == "Rate limit of 1 per day reached. Try again later."


def test_a_client_that_has_seen_the_error_can_call_again_at_once(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(1)) as sidecar:
        outcomes = [sidecar.call("t", {"stub": "error"}) for _ in range(200)]
        assert [denied(reply) for reply in outcomes if denied(reply)] == []


def test_a_refused_call_takes_nothing_from_another_limit(tmp_path: Path) -> None:
    policy = (
        "tools:\n  t: {rules: [{name: first, rate_limit: 5/day}, {name: second, rate_limit: {max: 2, window: day}}]}\n"
        '  u: {rules: [{name: u, rate_limit: 9/day}]}\n  "*": {rules: [{name: all, rate_limit: 4/day}]}\n'
    )
    with Sidecar(tmp_path, policy) as sidecar:
        assert [denied(sidecar.call("t")) for _ in range(5)] == [None, None, *["Rate limit exceeded for second"] * 3]
        assert [denied(sidecar.call("u")) for _ in range(3)] == [
            None,
            None,
            "Rate limit of 4 per day reached. Try again later.",
        ]


def test_a_sidecar_whose_store_is_locked_ends_though_many_calls_wait(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(100)) as sidecar:
        assert denied(sidecar.call("t")) is None
        with held(sidecar.state / "counters.db"):
            waiting = [sidecar.post("tools/call", {"name": "t", "arguments": {"n": n}}) for n in range(15)]
            assert kind(sidecar.reply(waiting[-1])) == "store_unavailable"
            for n in range(15):
                sidecar.post("tools/call", {"name": "t", "arguments": {"n": n}})
            sidecar.process.terminate()
            assert sidecar.wait() in (0, 143)
        assert len(sidecar.received) == 1


def test_a_store_that_is_removed_refuses_what_is_counted_until_the_next_start(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with Sidecar(tmp_path, limited(3), state=state) as sidecar:
        assert denied(sidecar.call("t")) is None
        shutil.rmtree(state)
        assert kind(sidecar.call("t")) == "store_unavailable"
        sidecar.wait_for_error("counters.db was removed or replaced while it was in use")
        (tmp_path / "other").mkdir()
        with Sidecar(tmp_path / "other", limited(3), state=state) as other:
            assert burst(other, 4).count(None) == 3
            assert kind(sidecar.call("t")) == "store_unavailable"
        assert len(sidecar.received) == 1


@pytest.mark.parametrize("total", ["CAST(x'ff35' AS TEXT)", "x'35'", "'-100'", "'1_0'"])
def test_a_damaged_counter_refuses_whoever_needs_it_and_nobody_else(tmp_path: Path, total: str) -> None:
    policy = (
        "tools:\n  t: {rules: [{rate_limit: 5/day}]}\n  u: {rules: [{rate_limit: 5/day}]}\n"
        "  r: {rules: [{conditions: [{path: state.t._rate_day, op: lt, value: 9}]}]}\n"
    )
    with Sidecar(tmp_path, policy) as sidecar:
        assert denied(sidecar.call("t")) is None
        with closing(sqlite3.connect(sidecar.state / "counters.db")) as db, db:
            db.execute(f"UPDATE counters SET total = {total}")
        ids = [sidecar.post("tools/call", {"name": tool, "arguments": {}}) for tool in ("t", "u", "r", "t", "u")]
        replies = {message["id"]: kind(message) for message in (sidecar.read() for _ in ids)}
        refused = "store_unavailable"
        assert [replies[id_] for id_ in ids] == [refused, None, refused, refused, None]
        assert len(sidecar.received) == 3


def test_an_index_that_is_cut_short_lets_nothing_through_and_the_end_is_said(tmp_path: Path) -> None:
    with Sidecar(tmp_path, limited(2)) as sidecar:
        assert denied(sidecar.call("t")) is None
        os.truncate(sidecar.state / "counters.db-shm", 0)
        sidecar.post("tools/call", {"name": "t", "arguments": {}})
        assert sidecar.wait() == -signal.SIGBUS
        assert "Fatal Python error: Bus error" in sidecar.errors
        assert "sidecar/ledger/file.py" in sidecar.errors
        assert len(sidecar.received) == 1
    with Sidecar(tmp_path, limited(2)) as sidecar:
        assert burst(sidecar, 3).count(None) == 1


def test_what_is_written_down_is_nobody_elses_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Sidecar(tmp_path, limited(2)) as sidecar:
            assert denied(sidecar.call("t")) is None
            files = [path for path in sidecar.state.rglob("*") if path.is_file()]
            assert {path.suffix for path in files} >= {".db", ".jsonl"}
            assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in files} == {
                path.name: 0o600 for path in files
            }
    finally:
        os.umask(before)


def test_an_audit_file_that_is_there_keeps_its_rights(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    audit.touch()
    audit.chmod(0o640)
    with Sidecar(tmp_path, limited(2), "--audit", str(audit)) as sidecar:
        assert denied(sidecar.call("t")) is None
    assert stat.S_IMODE(audit.stat().st_mode) == 0o640
    assert audit.read_text()
