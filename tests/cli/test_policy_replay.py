"""`sidecar policy replay` as its users run it: what it prints, how it ends, and that it needs no network."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_policy_commands import sidecar
from tests.support import ROOT, SIDECAR

POLICY = """\
tools:
  search:
    rules:
      - {name: small, conditions: [{path: args.n, op: lte, value: 5}], reason: Too many}
  pay: {rules: [{name: two, rate_limit: 2/hour}]}
  buy: {rules: [{name: ask, action: require_approval}]}
  look: {rules: [{name: by team, conditions: [{path: args.team, op: eq, value: x}]}]}
"""
TIME = "2026-11-30T08:00:00Z"


def line(tool: str, decision: str, arguments: dict[str, Any], **more: Any) -> str:
    return json.dumps({"tool": tool, "arguments": arguments, "decision": decision, "time": TIME, **more})


PASSES = line("search", "allow", {"n": 1})
LOOSENS = line("search", "deny", {"n": 2}, rule="small")
TIGHTENS = line("search", "allow", {"n": 9})
ASKED = line("buy", "deny", {})
UNASKED = line("search", "approval", {"n": 2})
UNKNOWN = line("look", "allow", {}, kept=[])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    return tmp_path


def replay(folder: Path, *lines: str, options: tuple[str, ...] = ()) -> Any:
    (folder / "calls.jsonl").write_text("".join(f"{each}\n" for each in lines))
    return sidecar(folder, "policy", "replay", "calls.jsonl", "-c", "policy.yaml", *options)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([PASSES], 0), ([PASSES, UNKNOWN], 0), ([PASSES, TIGHTENS], 3), ([TIGHTENS, LOOSENS, PASSES], 4),
        ([LOOSENS], 4), ([ASKED], 3), ([ASKED, UNASKED], 4),
        ([line("buy", "require_approval", {})], 0), ([line("search", "require_approval", {"n": 2})], 4),
    ],
)  # fmt: skip
def test_the_status_says_whether_anything_changes_and_whether_anything_passes_that_was_refused(
    here: Path, lines: list[str], status: int
) -> None:
    assert replay(here, *lines).status == status


def test_the_policy_of_the_environment_is_asked_where_none_is_named(here: Path) -> None:
    (here / "calls.jsonl").write_text(f"{LOOSENS}\n")
    (here / "more.yaml").write_text("tools: {search: {rules: [{action: deny}]}}\n")
    words = ("policy", "replay", "calls.jsonl")
    assert sidecar(here, *words).status == 2
    assert sidecar(here, *words, SIDECAR_CONFIG="policy.yaml").status == 4
    assert sidecar(here, *words, "-c", "more.yaml", SIDECAR_CONFIG="policy.yaml").status == 0


@pytest.mark.parametrize("words", [("-c", "policy.yaml", "-c", "more.yaml"), ()])
def test_several_policy_files_are_asked_as_one_policy(here: Path, words: tuple[str, ...]) -> None:
    (here / "calls.jsonl").write_text(f"{LOOSENS}\n")
    (here / "more.yaml").write_text('tools: {"*": {rules: [{action: deny}]}}\n')
    done = sidecar(here, "policy", "replay", "calls.jsonl", *words, SIDECAR_CONFIG="policy.yaml:more.yaml")
    assert (done.status, done.out) == (0, "1 call unchanged\n")


def test_as_json_every_change_and_every_call_that_cannot_be_replayed_is_named(here: Path) -> None:
    done = replay(here, TIGHTENS, PASSES, LOOSENS, UNKNOWN, options=("--json",))
    assert (done.status, json.loads(done.out)) == (4, {
        "loosened": [{
            "tool": "search", "arguments": {"n": 2}, "old": "deny", "new": "allow", "line": "policy.yaml:4",
            "rule": "", "reason": "", "old_rule": "small", "recorded": "calls.jsonl:3",
        }],
        "tightened": [{
            "tool": "search", "arguments": {"n": 9}, "old": "allow", "new": "deny", "line": "policy.yaml:4",
            "rule": "small", "reason": "Too many", "old_rule": "", "recorded": "calls.jsonl:1",
        }],
        "unchanged": 1,
        "not_replayable": [
            {"tool": "look", "why": "not kept: args.team, which a rule reads", "recorded": "calls.jsonl:4"}
        ],
    })  # fmt: skip


def test_numbers_stand_in_the_json_as_they_were_recorded(here: Path) -> None:
    long = LOOSENS.replace('"n": 2', '"n": 1.10, "big": 123456789012345678901234567890')
    assert '"n": 1.10,\n        "big": 123456789012345678901234567890' in replay(here, long, options=("--json",)).out


def test_the_table_begins_with_what_passes_now(here: Path) -> None:
    done = replay(here, TIGHTENS, PASSES, LOOSENS, LOOSENS, UNKNOWN)
    assert done.out.splitlines() == [
        "2 calls would pass that did not:",
        '  search: refused by "small", now allowed (policy.yaml:4): 2 calls, the first at calls.jsonl:3 with {"n":2}',
        "1 call would be refused, or wait for a person, and was not:",
        '  search: allowed, now refused by "small" (policy.yaml:4): 1 call, the first at calls.jsonl:1 with {"n":9}',
        "1 call cannot be replayed:",
        "  look: not kept: args.team, which a rule reads (1 call, the first at calls.jsonl:5)",
        "1 call unchanged",
    ]
    assert done.errors == ["counters began at 0 with the first call of the recording"]


def test_a_file_that_was_put_aside_when_it_was_full_comes_first(here: Path) -> None:
    pay = line("pay", "allow", {})
    (here / "calls.jsonl.1").write_text(f"{pay}\n{pay}\n")
    done = replay(here, pay)
    assert (done.status, "the first at calls.jsonl:1 with" in done.out) == (3, True)
    assert done.errors[0] == "read calls.jsonl.1 and then calls.jsonl"


def test_each_line_that_cannot_be_read_is_named_and_nothing_is_replayed(here: Path) -> None:
    done = replay(here, PASSES, "{", line("search", "perhaps", {"secret": "hunter2"}), LOOSENS)
    assert (done.status, done.out) == (2, "")
    assert [each.partition(": ")[0] for each in done.errors] == ["calls.jsonl:2", "calls.jsonl:3", "sidecar"]
    assert "hunter2" not in "".join(done.errors)


def test_a_last_line_that_was_cut_off_is_left_out_and_named(here: Path) -> None:
    for cut in (LOOSENS[:-1], LOOSENS[: len(LOOSENS) // 2], "{"):
        (here / "calls.jsonl").write_text(f"{PASSES}\n{cut}")
        done = sidecar(here, "policy", "replay", "calls.jsonl", "-c", "policy.yaml")
        assert (done.status, done.out) == (0, "1 call unchanged\n")
        assert done.errors[0].startswith("sidecar: warning: calls.jsonl:2: the file ends within this line")


def test_a_last_line_that_is_whole_counts_with_and_without_its_end(here: Path) -> None:
    (here / "calls.jsonl").write_text(f"{PASSES}\n{LOOSENS}")
    assert sidecar(here, "policy", "replay", "calls.jsonl", "-c", "policy.yaml").status == 4
    (here / "calls.jsonl").write_text(f"{PASSES}\n" + LOOSENS.replace("deny", "perhaps"))
    done = sidecar(here, "policy", "replay", "calls.jsonl", "-c", "policy.yaml")
    assert (done.status, done.errors[0].partition(": ")[0]) == (2, "calls.jsonl:2")


def test_a_line_that_is_cut_off_elsewhere_is_an_error(here: Path) -> None:
    done = replay(here, PASSES, LOOSENS[:-1])  # the line has an end
    assert (done.status, done.errors[0].partition(": ")[0]) == (2, "calls.jsonl:2")


def test_a_recording_of_nothing_but_a_cut_line_holds_no_call(here: Path) -> None:
    (here / "calls.jsonl").write_text(LOOSENS[:-1])
    done = sidecar(here, "policy", "replay", "calls.jsonl", "-c", "policy.yaml")
    assert (done.status, "holds no call" in done.errors[-1]) == (2, True)


def test_a_recording_without_a_call_is_wrong_usage_and_one_that_is_not_there_is_said(here: Path) -> None:
    done = replay(here, "")
    assert (done.status, done.errors) == (
        2, ["sidecar: calls.jsonl holds no call: record some with `sidecar run --record`"]
    )  # fmt: skip
    missing = sidecar(here, "policy", "replay", "missing.jsonl", "-c", "policy.yaml")
    assert missing.errors == ["sidecar: cannot read the recording missing.jsonl: No such file or directory"]
    endless = sidecar(here, "policy", "replay", "/dev/zero", "-c", "policy.yaml")
    assert endless.errors == ["sidecar: cannot read the recording /dev/zero: it is no regular file"]


def test_where_nothing_can_be_replayed_that_is_said(here: Path) -> None:
    assert replay(here, UNKNOWN).errors[-1] == "no call could be replayed, so this says nothing about the policy"


def test_a_wrong_policy_is_refused_with_its_problems(here: Path) -> None:
    (here / "policy.yaml").write_text("toolz: {}\n")
    done = replay(here, PASSES)
    assert (done.status, done.errors[0].startswith("policy.yaml:1:1: ")) == (1, True)


def test_a_repository_or_a_bundle_can_be_asked(here: Path) -> None:
    (here / "repo" / "policies").mkdir(parents=True)
    (here / "policy.yaml").rename(here / "repo" / "policies" / "policy.yaml")
    (here / "calls.jsonl").write_text(f"{TIGHTENS}\n")
    assert sidecar(here, "policy", "replay", "calls.jsonl", "-c", "repo").status == 3
    assert sidecar(here, "policy", "build", "repo", "-o", "bundle.tar.gz").status == 0
    assert sidecar(here, "policy", "replay", "calls.jsonl", "-c", "bundle.tar.gz").status == 3


# No network, loopback included: OPA reads the policy from a folder, and is asked over a unix socket.

ALONE = ("unshare", "--map-root-user", "--net", "sh", "-c")
NO_ROUTE = "awk '/^Ip: [0-9]/ {print $13}' /proc/net/snmp"
"""Prints how many packets, in this network, were meant for where no way leads."""


def alone(folder: Path, command: str) -> list[str]:
    """What a command prints in a network of its own, in which there is nothing, loopback not either."""
    done = subprocess.run(
        [*ALONE, command], capture_output=True, text=True, check=False, cwd=folder,
        timeout=60, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), "COLUMNS": "80"},
    )  # fmt: skip
    return done.stdout.splitlines()


def test_it_works_without_a_network_and_looks_for_none(here: Path) -> None:
    outside = replay(here, TIGHTENS, PASSES, LOOSENS, options=("--json",)).out.splitlines()
    command = f"{SIDECAR} policy replay calls.jsonl -c policy.yaml --json; echo $?; {NO_ROUTE}"
    assert alone(here, command) == [*outside, "4", "0"]


@pytest.mark.parametrize("host", ["192.0.2.1", "127.0.0.1"])
def test_whatever_looks_for_a_network_is_seen_there(here: Path, host: str) -> None:
    connect = f"import socket; socket.socket().connect_ex(('{host}', 80))"
    assert alone(here, f'python3 -c "{connect}"; {NO_ROUTE}') != ["0"]
