"""What a running sidecar recorded is replayed: by the same policy nothing changes, by another what it would decide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.cli.test_policy_commands import Done
from tests.cli.test_policy_commands import sidecar as command
from tests.support.peer import Sidecar, kind, until

POLICY = """\
approvals: {mask: [args.pin]}
tools:
  pay:
    rules:
      - {name: small, conditions: [{path: args.amount, op: lte, value: 100}]}
      - {name: two, rate_limit: 2/day}
  drop: {rules: [{name: ask, action: require_approval}]}
"""
CALLS: list[tuple[str, dict[str, Any], str | None]] = [
    ("pay", {"amount": 5, "pin": "1234"}, None), ("pay", {"amount": 500}, "rule"), ("pay", {"amount": 6}, None),
    ("pay", {"amount": 7}, "rate_limit"), ("drop", {}, None), ("look", {"at": "x"}, None),
]  # fmt: skip


def replayed(folder: Path, policy: str) -> tuple[int, Any]:
    (folder / "changed.yaml").write_text(policy)
    done: Done = command(folder, "policy", "replay", "calls.jsonl", "-c", "changed.yaml", "--json")
    return done.status, json.loads(done.out)


def places(found: Any, which: str) -> list[tuple[str, str]]:
    return [(one["tool"], one["recorded"].rpartition(":")[2]) for one in found[which]]


def test_a_recording_of_a_sidecar_is_replayed(tmp_path: Path) -> None:
    recording = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(recording)) as sidecar:
        assert [kind(sidecar.call(tool, arguments)) for tool, arguments, _ in CALLS] == [each for *_, each in CALLS]
        until(lambda: recording.read_text().count("\n") == len(CALLS), what="the recording")
    assert replayed(tmp_path, POLICY) == (
        0, {"loosened": [], "tightened": [], "unchanged": len(CALLS), "not_replayable": []}
    )  # fmt: skip
    status, found = replayed(tmp_path, POLICY.replace("2/day", "3/day").replace("value: 100", "value: 5"))
    assert (status, places(found, "tightened"), places(found, "loosened")) == (3, [("pay", "3")], [])
    status, found = replayed(tmp_path, POLICY.replace("2/day", "3/day"))
    assert (status, places(found, "loosened"), found["unchanged"]) == (4, [("pay", "4")], len(CALLS) - 1)
    status, found = replayed(tmp_path, POLICY.replace("args.amount", "args.pin"))
    assert {one["why"] for one in found["not_replayable"]} == {"not kept: args.pin, which a rule reads"}


def test_what_is_masked_cannot_be_replayed_and_stands_in_no_answer(tmp_path: Path) -> None:
    recording = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(recording), "--record-all") as sidecar:
        sidecar.call("pay", {"amount": 5, "pin": "1234-5678"})
        until(lambda: recording.read_text().count("\n") == 1, what="the recording")
    _, found = replayed(tmp_path, POLICY.replace("args.amount", "args.pin"))
    assert [one["why"] for one in found["not_replayable"]] == ["kept as a hash only: args.pin, which a rule reads"]
    status, found = replayed(tmp_path, POLICY.replace("value: 100", "value: 1"))
    assert (status, "1234-5678" in json.dumps(found)) == (3, False)
