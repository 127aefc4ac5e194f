"""`run --record`: what a replay needs of each decided call is in a file, and nothing that may not be kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from sidecar.rehearsal.recordings.recorded import Recorded, read_line
from tests.support import SIDECAR
from tests.support.peer import TELEMETRY, Sidecar, kind, until

POLICY = """
approvals: {mask: [args.card]}
tools:
  pay:
    rules:
      - {name: small, conditions: [{path: args.amount, op: lte, value: 5}]}
      - {name: asks, action: require_approval, conditions: [{path: args.amount, op: gt, value: 3}]}
"""


def lines(path: Path, number: int) -> list[Recorded]:
    until(lambda: path.read_bytes().count(b"\n") >= number)
    return [read_line(line) for line in path.read_bytes().splitlines()]


def test_each_decided_call_is_kept_with_what_rules_read(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(path)) as sidecar:
        assert "--record keeps of every decided call the arguments and claims that rules read" in sidecar.errors
        assert str(path) in sidecar.errors
        sidecar.initialize()
        sidecar.call("pay", {"amount": 1, "note": "a secret", "card": "1234"})
        sidecar.call("pay", {"amount": 4, "note": "a secret"})
        assert kind(sidecar.call("pay", {"amount": 9, "card": {"number": "1234"}})) == "rule"
        sidecar.call("free", {"note": "a secret"})
        calls = lines(path, 4)
        audit = sidecar.audit
    text = path.read_text()
    assert "secret" not in text
    assert "1234" not in text
    assert [(one.tool, one.decision, one.rule, one.arguments) for one in calls] == [
        ("pay", "allow", "", {"amount": 1}), ("pay", "approval", "asks", {"amount": 4}),
        ("pay", "deny", "small", {"amount": 9}), ("free", "allow", "", {}),
    ]  # fmt: skip
    assert [one.decision_id for one in calls] == [line["decision_id"] for line in audit if "decision_id" in line]
    assert {one.client.name for one in calls if one.client} == {"peer"}
    assert [one.masked for one in calls] == [("args.card",), (), ("args.card",), ()]
    assert calls[1].approval.startswith("apr_")
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_arguments_are_kept_where_that_is_asked_for_but_not_what_is_masked(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(path), "--record-all") as sidecar:
        sidecar.send_bytes(
            b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"pay","arguments":'
            b'{"amount":1.10,"note":[1e2],"Card":"1234"}}}\n'
        )
        sidecar.reply(1)
        (call,) = lines(path, 1)
    assert b'"amount":1.10,"note":[1e2],"Card":"hmac-sha256:' in path.read_bytes()
    assert (call.kept, call.masked) == ("all", ("args.Card",))
    assert "1234" not in path.read_text()


def test_a_changed_policy_changes_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(path)) as sidecar:
        sidecar.call("pay", {"amount": 1, "to": "x"})
        (tmp_path / "policy.yaml").write_text(POLICY.replace("args.amount", "args.to").replace("lte", "neq"))
        sidecar.wait_for_error("the changed policy is in force")
        sidecar.call("pay", {"amount": 1, "to": "x"})
        assert [one.arguments for one in lines(path, 2)] == [{"amount": 1}, {"to": "x"}]


def test_what_only_a_candidate_reads_is_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    (tmp_path / "new.yaml").write_text(POLICY.replace("args.amount", "args.to").replace("lte", "neq"))
    with Sidecar(tmp_path, POLICY, "--record", str(path), "--shadow", str(tmp_path / "new.yaml")) as sidecar:
        sidecar.wait_for_error("a candidate policy is asked about every call")
        sidecar.call("pay", {"amount": 1, "to": "x", "note": "y"})
        assert [one.arguments for one in lines(path, 1)] == [{"amount": 1, "to": "x"}]


def test_what_cannot_be_recorded_is_counted_and_calls_pass(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    with Sidecar(tmp_path, POLICY, "--record", str(folder / "calls"), *TELEMETRY) as sidecar:
        assert sidecar.metric("unrecorded_calls_total") == 0
        folder.rename(tmp_path / "g")
        assert kind(sidecar.call("pay", {"amount": 1})) is None
        sidecar.wait_for_error("No such file or directory; calls are decided all the same")
        assert sidecar.metric("unrecorded_calls_total") == 1
        (tmp_path / "g").rename(folder)
        sidecar.call("pay", {"amount": 1})
        sidecar.wait_for_error("calls are recorded again; 1 are missing")
        assert len(lines(folder / "calls", 1)) == 1


def test_what_waits_to_be_written_is_there_after_the_end(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    with Sidecar(tmp_path, POLICY, "--record", str(path)) as sidecar:
        for amount in range(5):
            sidecar.call("pay", {"amount": amount})
        assert sidecar.end() == 0
    assert len(path.read_bytes().splitlines()) == 5


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--record-all",), 2, "write --record FILE too"),
        (("--record", "x", "--record-size", "1KiB"), 2, "write 64KiB or more"),
        (("--record", "/dev/null"), 1, "cannot record in /dev/null"),
        (("--record", "nowhere/x"), 1, "No such file or directory; name another file with --record"),
    ],
)
def test_a_recording_that_cannot_be_is_said_at_the_start(
    tmp_path: Path, options: tuple[str, ...], status: int, said: str
) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    command = [str(SIDECAR), "run", "-c", "policy.yaml", "--state-dir", "s", *options, "--", "true"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, said in ended.stderr) == (status, True), ended.stderr
    assert len(ended.stderr.splitlines()) == 1
