"""A whole candidate policy in shadow: what it would change is counted and said, and no live call notices it."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support import OPA
from tests.support.peer import (
    AS_A_USER,
    TELEMETRY,
    Sidecar,
    child_pids,
    command_line,
    denied,
    is_alive,
    kill,
    kind,
    stopped,
    until,
)
from tests.support.straight import PATHS, over

LIVE = """\
tools:
  open: {rules: []}
  closed: {rules: [{name: never, action: deny, reason: Not this}]}
  limited: {rules: [{name: one, rate_limit: 1/day}]}
"""
CANDIDATE = """\
tools:
  open:
    rules:
      - {name: small, conditions: [{path: args.secret, op: lte, value: 5}]}
  closed: {rules: []}
  asks: {rules: [{name: ask, action: require_approval}]}
  limited: {rules: [{name: two, rate_limit: 2/day}]}
"""
STANDING_BACK = 60.0
"""Seconds that a candidate may take on a busy machine: others come first."""
BEGAN = "a candidate policy is asked about every call, and decides nothing: its revision "


class Shadowed(Sidecar):
    """A sidecar with a candidate beside it, which has begun."""

    def __init__(self, folder: Path, *options: str, candidate: str = CANDIDATE) -> None:
        self.candidate = folder / "candidate.yaml"
        self.candidate.write_text(candidate)
        super().__init__(folder, LIVE, "--shadow", str(self.candidate), *TELEMETRY, *options)
        self.wait_for_error(BEGAN, STANDING_BACK)

    @property
    def worker(self) -> int:
        """The process in which the candidate judges."""
        (pid,) = self.children("shadow.process")
        return pid

    @property
    def worker_opa(self) -> int:
        """The candidate's own OPA."""
        (pid,) = [pid for pid in child_pids(self.worker) if str(OPA) in command_line(pid)]
        return pid

    def compared(self, **labels: str) -> float:
        return self.metric("candidate_total", **labels)

    def left_out(self, **labels: str) -> float:
        return self.metric("candidate_not_compared_total", **labels)

    def wait_for(self, calls: int) -> None:
        """Wait until it is known of so many calls what became of them."""
        done = f"what becomes of {calls} calls"
        until(lambda: self.compared() + self.left_out() == calls, STANDING_BACK, done)


@pytest.fixture
def sidecar(tmp_path: Path) -> Iterator[Shadowed]:
    with Shadowed(tmp_path) as sidecar:
        yield sidecar


def test_what_both_say_is_counted_and_the_first_of_each_kind_is_said_with_both_lines(sidecar: Shadowed) -> None:
    for _ in range(2):
        for tool in ("open", "closed", "asks"):
            sidecar.call(tool, {"secret": 123454321})
    sidecar.wait_for(6)
    assert sidecar.compared(live="allow", candidate="deny") == 2
    assert sidecar.compared(live="deny", candidate="allow") == 2
    assert sidecar.compared(live="allow", candidate="approval") == 2
    said = [line.rpartition(" [")[0] for line in sidecar.messages if "the candidate policy says" in line]
    assert sorted(said) == [
        "the candidate policy says ask a person to asks by ask at candidate.yaml:6, the policy in force yes",
        "the candidate policy says no to open by small at candidate.yaml:4, the policy in force yes",
        "the candidate policy says yes to closed, the policy in force no by never at policy.yaml:3",
    ]
    assert "123454321" not in sidecar.errors


def test_every_pair_of_decisions_and_every_gap_is_exposed_from_the_start(sidecar: Shadowed) -> None:
    series = [sample for sample in sidecar.metrics if sample.name.startswith("mcp_policy_candidate_")]
    assert [sample.value for sample in series] == [0.0] * 9 + [0.0] * 3 + [1.0]
    assert sidecar.errors.count(BEGAN) == 1


def test_without_a_candidate_there_is_no_trace_of_one(tmp_path: Path) -> None:
    with Sidecar(tmp_path, LIVE, *TELEMETRY) as sidecar:
        sidecar.call("open")
        assert not [sample for sample in sidecar.metrics if "candidate" in sample.name]
        assert sidecar.children("shadow.process") == []


def test_the_candidate_counts_apart_and_takes_nothing_from_live_limits(sidecar: Shadowed) -> None:
    assert [kind(sidecar.call("limited")) for _ in range(3)] == [None, "rate_limit", "rate_limit"]
    sidecar.wait_for(3)
    assert sidecar.compared(live="allow", candidate="allow") == 1
    assert sidecar.compared(live="deny", candidate="allow") == 1
    assert sidecar.compared(live="deny", candidate="deny") == 1
    with closing(sqlite3.connect(sidecar.state / "counters.db")) as store:
        assert store.execute("SELECT total FROM counters").fetchall() == [("1",)]


def test_nobody_is_asked_by_a_candidate(sidecar: Shadowed) -> None:
    assert denied(sidecar.call("asks")) is None
    sidecar.wait_for(1)
    assert sidecar.compared(candidate="approval") == 1
    with closing(sqlite3.connect(sidecar.state / "counters.db")) as store:
        assert store.execute("SELECT count(*) FROM approvals").fetchone() == (0,)
    assert [line["decision"] for line in sidecar.audit] == ["allow"]


@pytest.mark.parametrize(("options", "opens"), [((), 1), (("--mode", "monitor"), 0)], ids=["enforced", "monitored"])
def test_a_candidate_that_only_monitors_opens_what_is_closed(
    tmp_path: Path, options: tuple[str, ...], opens: int
) -> None:
    with Shadowed(tmp_path, *options, candidate=f"mode: monitor\n{LIVE}") as sidecar:
        sidecar.call("closed")
        sidecar.wait_for(1)
        assert sidecar.compared(live="deny", candidate="allow") == opens
        assert sidecar.compared(live="deny", candidate="deny") == 1 - opens


def test_the_candidate_stands_back_from_the_processor(sidecar: Shadowed) -> None:
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in (sidecar.worker, sidecar.worker_opa)] == [10, 10]
    assert os.getpriority(os.PRIO_PROCESS, sidecar.process.pid) == 0
    until(lambda: all(map(stands_back, (sidecar.worker, sidecar.worker_opa))), what="their groups")


def stands_back(pid: int) -> bool:
    """True for a process whose session stands back too, where the kernel weighs sessions."""
    group = Path(f"/proc/{pid}/autogroup")
    return not group.exists() or group.read_text().endswith(" nice 10\n")


def test_a_candidate_that_hangs_holds_up_no_call_and_what_finds_no_room_is_counted(sidecar: Shadowed) -> None:
    with stopped(sidecar.worker), stopped(sidecar.worker_opa):
        for number in range(400):
            assert denied(sidecar.call("open", {"secret": number, "filling": "x" * 16_000})) is None
        assert sidecar.left_out(reason="skipped") > 0
    sidecar.wait_for(400)
    assert sidecar.compared() > 0


def test_an_engine_that_hangs_is_no_answer(tmp_path: Path) -> None:
    with Shadowed(tmp_path) as sidecar:
        with stopped(sidecar.worker_opa):
            assert denied(sidecar.call("open", {"secret": 9})) is None
            sidecar.wait_for(1)
        assert sidecar.left_out(reason="failed") == 1


def test_a_large_call_is_left_out_and_passes(sidecar: Shadowed) -> None:
    assert denied(sidecar.call("open", {"secret": 1, "filling": "x" * (5 << 20)})) is None
    sidecar.call("open", {"secret": 1})
    sidecar.wait_for(2)
    assert (sidecar.left_out(reason="skipped"), sidecar.compared()) == (1, 1)


def test_a_call_that_no_policy_decided_is_not_compared(tmp_path: Path) -> None:
    with Shadowed(tmp_path, *AS_A_USER) as sidecar:
        with stopped(sidecar.opa):
            assert kind(sidecar.call("open", {"secret": 1})) == "engine_unavailable"
        sidecar.wait_for(1)
        assert sidecar.left_out(reason="no_policy") == 1


def test_a_candidate_whose_process_dies_is_started_again(sidecar: Shadowed) -> None:
    kill(sidecar.worker)
    assert denied(sidecar.call("open", {"secret": 9})) is None
    sidecar.wait_for_error(
        "its process was ended by SIGKILL; it is started again in 1 s; live calls do not wait for it"
    )
    until(lambda: sidecar.errors.count(BEGAN) == 2, STANDING_BACK, what="the next process")
    sidecar.wait_for(1)
    assert sidecar.compared(live="allow", candidate="deny") == 1


def test_a_changed_candidate_is_asked_from_then_on_and_a_wrong_one_is_not(sidecar: Shadowed) -> None:
    sidecar.candidate.write_text(CANDIDATE.replace("value: 5", "value: 10"))
    until(lambda: sidecar.errors.count(BEGAN) == 2, STANDING_BACK, what="the changed candidate")
    sidecar.call("open", {"secret": 9})
    sidecar.wait_for(1)
    assert sidecar.compared(live="allow", candidate="allow") == 1
    sidecar.candidate.write_text("toolz: {}\n")
    sidecar.wait_for_error("the changed candidate is not used, the one before goes on: ", STANDING_BACK)
    assert "candidate.yaml:1:1: " in sidecar.errors
    sidecar.call("open", {"secret": 11})
    sidecar.wait_for(2)
    assert sidecar.compared(live="allow", candidate="deny") == 1


def test_a_wrong_candidate_stops_the_start_with_its_problems(tmp_path: Path) -> None:
    (tmp_path / "candidate.yaml").write_text("toolz: {}\n")
    with Sidecar(tmp_path, LIVE, "--shadow", str(tmp_path / "candidate.yaml"), ready=False) as sidecar:
        assert sidecar.wait() == 1
        assert "candidate.yaml:1:1: " in sidecar.errors


def test_a_repository_can_be_the_candidate(tmp_path: Path) -> None:
    policies = tmp_path / "repository" / "policies"
    policies.mkdir(parents=True)
    (policies / "one.yaml").write_text(CANDIDATE)
    with Sidecar(tmp_path, LIVE, "--shadow", str(policies.parent), *TELEMETRY) as sidecar:
        sidecar.wait_for_error(BEGAN)
        sidecar.call("closed")
        sidecar.wait_for_error("the candidate policy says yes to closed")


def test_nothing_of_a_candidate_is_left_when_the_sidecar_ends(sidecar: Shadowed) -> None:
    processes = [sidecar.worker, sidecar.worker_opa]
    assert sidecar.end() == 0
    until(lambda: not any(map(is_alive, processes)), what="the end of the candidate")


def test_nothing_of_a_candidate_is_left_when_the_sidecar_is_killed(sidecar: Shadowed) -> None:
    processes = [sidecar.worker, sidecar.worker_opa]
    os.kill(sidecar.process.pid, signal.SIGKILL)
    until(lambda: not any(map(is_alive, processes)), what="the end of the candidate")


def test_the_process_of_a_candidate_gets_no_secret(tmp_path: Path) -> None:
    with Shadowed(tmp_path) as sidecar:
        for pid in (sidecar.worker, sidecar.worker_opa):
            names = {each.partition("=")[0] for each in Path(f"/proc/{pid}/environ").read_text().split("\0")}
            assert names <= {"", "PATH", "HOME", "TMPDIR", "GOMAXPROCS", "GOGC", "LC_CTYPE"}


@pytest.mark.parametrize("path", PATHS)
def test_on_each_path_calls_are_compared(tmp_path: Path, path: str) -> None:
    (tmp_path / "candidate.yaml").write_text("tools: {t: {rules: [{name: never, action: deny}]}}")
    with over(path, tmp_path, "tools: {t: {rules: []}}", "--shadow", str(tmp_path / "candidate.yaml")) as way:
        way.together([("t", {"n": number}) for number in range(20)])
        way.program.wait_for_error("the candidate policy says no to t by never at candidate.yaml:1")
