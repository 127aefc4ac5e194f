"""`sidecar status` against real sidecars: what it counts, what it shows, and what it makes of those that are gone."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from sidecar.cli import status_audit, status_telemetry
from sidecar.cli.approvals_table import columns
from sidecar.cli.status import _json
from sidecar.cli.status_text import lines
from sidecar.cli.status_values import Counted, Denial, Limit, Looked, Status, Waiting
from sidecar.ledger.approvals import Answer
from sidecar.system.instances import Instance
from tests.cli.asking import asked, lost, pending, using
from tests.cli.terminals import shown_on_terminal
from tests.cli.test_approvals_table import HOSTILE
from tests.support import SIDECAR
from tests.support.listener import Listener, sidecar
from tests.support.peer import TELEMETRY, Sidecar, kill, until
from tests.support.ports import free_port
from tests.support.signals import with_default_signals

POLICY = """
default: allow
tools:
  counted:
    rules:
      - {name: a day, rate_limit: 3/day}
  forbidden:
    rules:
      - {name: never, action: deny, reason: not here}
"""
NEVER = "policy.yaml:9"
"""Where the rule `never` stands."""


def status(state: Path, *words: str) -> str:
    command = with_default_signals([str(SIDECAR), "status", "--state-dir", str(state), *words])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def document(state: Path) -> Any:
    return json.loads(status(state, "--json"))


def calls(sidecar: Sidecar) -> None:
    """Two calls that are allowed, and three that are not."""
    for tool in ("counted", "forbidden", "counted", "forbidden", "forbidden"):
        sidecar.call(tool)


def top(found: Any) -> list[tuple[str, str, str, int]]:
    rows = [(one["tool"], one["rule"], one["line"], one["count"]) for one in found["top_denials"]]
    return [(tool, rule, Path(line).name, count) for tool, rule, line, count in rows]


@pytest.mark.parametrize("options", [TELEMETRY, ()], ids=["telemetry", "audit"])
def test_a_running_sidecar_is_counted_by_its_telemetry_or_else_by_its_audit_log(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    with Sidecar(tmp_path, POLICY, "--server", "here", *options) as sidecar:
        calls(sidecar)
        found = document(sidecar.state)
        assert found["decisions"] == {"allow": 2, "deny": 3}
        assert top(found) == [("forbidden", "never", NEVER, 3)]
        [one] = found["instances"]
        assert (one["server"], one["pid"], one["mode"]) == ("here", sidecar.process.pid, "enforce")
        assert (one["ready"], one["counted_by"]) == ((True, "telemetry") if options else (None, "audit"))
        assert [(one["tool"], one["rule"], one["reason"]) for one in found["recent_denials"]] == [
            ("forbidden", "never", "not here")
        ] * 3
        assert found["recent_denials"][0]["decision_id"] == sidecar.audit[-1]["decision_id"]
        limits = [(one["rule"], one["left"]) for one in found["limits"]]
        assert limits == ([("a day", 1)] if options else [])
        assert found["approvals"] == {"pending": 0, "unknown": 0}


def test_the_mode_is_that_of_the_policy_in_force_not_of_the_start(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        for mode in ("monitor", "enforce"):
            (tmp_path / "new.yaml").write_text(f"mode: {mode}\n{POLICY}")
            (tmp_path / "new.yaml").replace(tmp_path / "policy.yaml")
            until(lambda mode=mode: [one["mode"] for one in document(sidecar.state)["instances"]] == [mode])  # type: ignore[misc]


def test_a_refused_change_and_tools_that_the_server_lacks_are_shown_without_telemetry_too(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as running:

        def says() -> list[str]:
            [one] = document(running.state)["instances"]
            return cast("list[str]", one["says"])

        running.initialize()
        running.request("tools/list")
        until(lambda: says() == ["the policy names tools that the server lacks: counted, forbidden"])
        (tmp_path / "new.yaml").write_text("tools: [")
        (tmp_path / "new.yaml").replace(tmp_path / "policy.yaml")
        until(lambda: says()[0].startswith("the changed policy is refused: "))
        assert "the changed policy is refused: " in " ".join(status(running.state).split())
        (tmp_path / "new.yaml").write_text(POLICY)
        (tmp_path / "new.yaml").replace(tmp_path / "policy.yaml")
        until(lambda: len(says()) == 1)


def test_several_sidecars_are_added_up_and_one_that_was_killed_is_left_out_and_forgotten(tmp_path: Path) -> None:
    state = tmp_path / "state"
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    with (
        Sidecar(folders[0], POLICY, "--server", "a", *TELEMETRY, state=state) as first,
        Sidecar(folders[1], POLICY, "--server", "b", *TELEMETRY, state=state) as second,
    ):
        calls(first)
        calls(second)
        found = document(state)
        assert sorted(one["server"] for one in found["instances"]) == ["a", "b"]
        assert found["decisions"] == {"allow": 4, "deny": 6}
        assert sorted((one["server"], one["count"]) for one in found["top_denials"]) == [("a", 3), ("b", 3)]
        kill(first.process.pid)
        first.process.wait()
        found = document(state)
        assert [one["server"] for one in found["instances"]] == ["b"]
        assert found["decisions"] == {"allow": 2, "deny": 3}
        assert len(list((state / "instances").iterdir())) == 1


def test_where_none_runs_it_says_so_and_what_the_last_day_was(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        calls(sidecar)
    said = status(sidecar.state)
    assert said.startswith("No sidecar runs with the state folder")
    assert "In the last day 2 calls were allowed, and 3 denied." in said
    assert document(sidecar.state)["decisions"] == {"allow": 2, "deny": 3}


def test_a_folder_without_anything_is_no_error_and_nothing_is_made_by_looking(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    assert status(nothing).startswith("No sidecar runs with the state folder")
    assert document(nothing) == {
        "instances": [], "decisions": {"allow": 0, "deny": 0}, "held": 0, "top_denials": [], "recent_denials": [],
        "limits": [], "approvals": {"pending": 0, "unknown": 0},
    }  # fmt: skip
    assert not nothing.exists()


def test_approvals_of_the_store_are_counted_whoever_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    call = asked()
    id_, *_ = pending(state, call, asked(), asked())
    using(state, lambda ledger: ledger.approvals.decide(id_, Answer("bob", time.time(), "page", "::1", "approve")))
    lost(state, call)
    assert document(state)["approvals"] == {"pending": 2, "unknown": 1}
    assert "APPROVALS  2 pending, 1 unknown" in status(state)


def test_a_sidecar_that_hangs_is_told_and_holds_up_nobody_for_long(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        calls(sidecar)
        os.kill(sidecar.process.pid, signal.SIGSTOP)
        try:
            found = document(sidecar.state)
        finally:
            os.kill(sidecar.process.pid, signal.SIGCONT)
        [one] = found["instances"]
        assert one["ready"] is None
        assert "gives no answer" in one["says"][0]
        assert (one["counted_by"], found["decisions"]) == ("audit", {"allow": 2, "deny": 3})


def test_a_server_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    dead = ("--transport", "http", "--port", "0", "--upstream", f"http://127.0.0.1:{free_port()}/mcp")
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "counted", "arguments": {}}}
    with Listener(sidecar(tmp_path, POLICY, *dead), tmp_path, says="ready\n") as listener:
        assert "error" in httpx.post(listener.url, json=call, trust_env=False).json()
        [one] = document(tmp_path / "state")["instances"]
        assert (one["ready"], one["sessions"], one["components"]["upstream"]) == (True, 0, False)
        assert [said.partition("Z ")[2].partition(" (")[0] for said in one["says"]] == [
            "the MCP server cannot be reached: the connection is refused"
        ]
        assert "peer: since " in status(tmp_path / "state")


def test_it_is_drawn_on_a_terminal_until_q(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, "--server", "here", *TELEMETRY) as sidecar:
        command = with_default_signals([str(SIDECAR), "status", "--watch", "--state-dir", str(sidecar.state)])
        with shown_on_terminal(command, 80, 24) as shown:
            shown.until(lambda frame: "q: end" in frame and "here" in frame, "the sidecar")
            calls(sidecar)
            frame = shown.until(lambda frame: "3  forbidden  never" in frame, "the denials")
            assert all(columns(line) <= 80 for line in frame.splitlines())
            shown.type(b"q")
            assert shown.end() == 0


def test_in_a_pipe_each_look_is_a_line_of_json(tmp_path: Path) -> None:
    command = with_default_signals([str(SIDECAR), "status", "--watch", "--json", "--state-dir", str(tmp_path / "none")])
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert [json.loads(process.stdout.readline())["instances"] for _ in range(2)] == [[], []]
            process.send_signal(signal.SIGTERM)
            until(lambda: process.poll() is not None)
        finally:
            process.kill()
    assert process.returncode == 0


@pytest.mark.parametrize("text", [HOSTILE, "\u65e5\u672c", "a\u0301\u0301\u0301\u0301"])
@pytest.mark.parametrize("width", [40, 80])
def test_nothing_that_others_wrote_leaves_its_place_and_every_line_fits(text: str, width: int) -> None:
    hostile = f"x{text}y" * 30
    instance = Instance("i", 1, hostile, "1", "2026-11-30T12:00:00Z", "http", "http", "", "", "enforce")
    counted = Counted("audit", 1, 2)
    counted.denials[hostile, hostile, hostile] = 2
    counted.places[hostile, hostile] = hostile
    limit = Limit(hostile, hostile, hostile, hostile, hostile, 1.0, 3.0, 2e9)
    denial = Denial("2026-11-30T12:00:00.000Z", hostile, hostile, hostile, hostile, hostile, hostile)
    looked = Looked(instance, counted, [limit], ready=False, words=[hostile, hostile])
    shown = lines(
        Status(hostile, [looked], Counted(), [denial], Waiting(None, None, hostile)), 1_796_040_000.0, width
    )  # fmt: skip
    assert all(columns(line) <= width for line in shown)
    assert all(line.isprintable() for line in shown)


def audit_line(decision: str, tool: str = "t", **members: Any) -> bytes:
    said = {"event": "decision", "time": "2026-11-30T12:00:00.000Z", "tool": tool, "decision": decision, **members}
    return json.dumps(said).encode() + b"\n"


def test_decisions_in_files_that_were_put_aside_count_and_what_is_no_line_does_not(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        audit_line("allow") + b'{"event":"start"}\n' + audit_line("deny", rule="r", kind="rule", file="p", line=3)
    )
    (tmp_path / "a.000002.jsonl").write_bytes(
        b'{"event":"decision"\n' + audit_line("deny", rule="r", kind="rule", file="p", line=3)
    )
    (tmp_path / "b.000001.jsonl").write_bytes(audit_line("allow"))
    found = status_audit.counted(str(path))
    assert (found.source, found.allow, found.deny, found.whole) == ("audit", 1, 2, True)
    assert (dict(found.denials), found.place(("t", "r"))) == ({("t", "r", ""): 2}, "p:3")


def test_only_the_end_of_a_long_audit_log_is_read_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, one = tmp_path / "a.jsonl", audit_line("allow")
    path.write_bytes(one * 10)
    monkeypatch.setattr(status_audit, "COUNTED", len(one) * 3 + 5)
    found = status_audit.counted(str(path))
    assert (found.allow, found.whole) == (3, False)


@pytest.mark.parametrize("content", [b"CEF:0|intercept-sidecar|\n", b""])
def test_an_audit_log_in_another_form_counts_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.cef"
    path.write_bytes(content)
    assert status_audit.counted(str(path)).source == ""
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path, tmp_path / "none"):
        assert status_audit.counted(str(other)).source == ""


def test_what_an_instance_calls_its_audit_log_is_not_opened_where_it_is_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sidecar.cli.status_audit.os.open", lambda *_: pytest.fail("it was opened"))
    assert status_audit.counted("/dev/null").source == ""


def looked_at(telemetry: str = "", name: str = "s", audit: str = "") -> Looked:
    return Looked(Instance("i", 1, name, "1", "2026-11-30T12:00:00Z", "http", "http", telemetry, audit, ""), Counted())


def said_of(one: Looked) -> list[str]:
    """What is shown of one sidecar, in both forms."""
    found = Status("f", [one], Counted(), [], Waiting())
    return [*lines(found, 1_796_040_000.0, 80), _json(found)]


@pytest.mark.parametrize(
    "url", ["http://[::", "http://a:b", "http://\x1b", "http://\xe9..com", "unix:\ud800", "ftp://x"]
)
def test_an_address_that_is_none_is_said_and_ends_nothing(url: str) -> None:
    found = asyncio.run(status_telemetry.look(looked_at(url).instance))
    assert (found.ready, len(found.words)) == (None, 1)
    assert "no answer" in "".join(said_of(found))


@pytest.mark.parametrize(
    "metrics",
    [
        'mcp_policy_decisions_total{decision="allow"} +Inf', "mcp_policy_sessions NaN",
        'mcp_policy_limit_remaining{tool="t",rule="r",window="%s"} 1' % ("9" * 400),
        'mcp_policy_limit_remaining{tool="t",rule="r"} NaN',
        ('mcp_policy_limit_remaining{tool="t",rule="r"} 1\n'
        'mcp_policy_limit_resets_timestamp_seconds{tool="t",rule="r"} +Inf'),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_left_out(metrics: str) -> None:
    one = looked_at()
    status_telemetry.read(f'mcp_policy_build_info{{opa="1"}} 1\n{metrics}\n', one)
    assert one.counted.allow == 0
    assert said_of(one)


def test_json_holds_nothing_that_speaks_to_a_terminal_and_any_name() -> None:
    name = "\x9b31m\u202e\udcff\x7f"
    shown = said_of(looked_at(name=name))
    assert all(line.isprintable() for line in shown)
    assert json.loads(shown[-1])["instances"][0]["server"] == name


def test_an_audit_log_whose_path_is_none_counts_nothing() -> None:
    assert status_audit.counted("a\0b").source == ""
    assert status_audit.recent(["a\0b"]) == []


def test_what_fails_is_named_beside_what_is_ready() -> None:
    looked = Looked(Instance("i", 1, "s", "1", "", "http", "http", "http://x", "", "enforce"), Counted(), ready=True)
    status_telemetry.read(
        'mcp_policy_build_info{opa="1"} 1\n'
        'mcp_policy_component_up{component="engine"} 1\nmcp_policy_component_up{component="bundle_source"} 0\n'
        'mcp_policy_limit_remaining{tool="*",rule="r",scope="global",window="3600"} 2\n'
        'mcp_policy_limit_max{tool="*",rule="r",scope="global",window="3600"} 8\n'
        'mcp_policy_limit_resets_timestamp_seconds{tool="*",rule="r",scope="global",window="3600"} 5400\n',
        looked,
    )
    shown = lines(Status("f", [looked], Counted(), [], Waiting()), 1_800.0, 80)
    assert "ready, bundle source fails" in shown[3]
    assert "*  r  2 of 8 left  whole again in 1 h  global in 1 h" in shown


def test_several_servers_are_told_apart_and_the_end_of_a_limit_is_not_cut_off() -> None:
    running = []
    for name in ("clock", "orders"):
        counted = Counted("telemetry", 0, 2)
        counted.denials["get_time", "get_time#1", ""] = 2
        limit = Limit(name, "get_time", "get_time#1", "global", "86400", 27.0, 30.0, 32_400.0)
        running.append(Looked(Instance(name, 1, name, "1", "", "http", "http", "", "", "enforce"), counted, [limit]))
    denial = Denial("1970-01-01T00:00:00.000Z", "orders", "get_time", "never", "", "no", "a-1")
    shown = lines(Status("f", running, Counted(), [denial], Waiting()), 0.0, 80)
    assert "2  clock   get_time  get_time#1" in shown
    assert "2  orders  get_time  get_time#1" in shown
    assert shown[shown.index("DENIED LAST (UTC)") + 1].startswith("00:00:00  orders  get_time")
    limits = shown[shown.index("LIMITS") + 1 : -2]
    assert [line.split()[0] for line in limits] == ["clock", "orders"]
    assert all("27 of 30 left  whole again in 9 h" in line for line in limits)


@pytest.mark.parametrize("options", [TELEMETRY, ()], ids=["telemetry", "audit"])
def test_calls_that_wait_for_a_person_are_told_from_those_that_were_denied(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    asks = "tools: {counted: {rules: [{action: require_approval}]}, forbidden: {rules: [{action: deny}]}}"
    with Sidecar(tmp_path, asks, "--server", "here", *options) as sidecar:
        for tool in ("forbidden", "counted", "counted"):
            sidecar.call(tool)
        found = document(sidecar.state)
        assert (found["decisions"], found["held"]) == ({"allow": 0, "deny": 3}, 2)
        assert [(one["decisions"]["deny"], one["held"]) for one in found["instances"]] == [(3, 2)]
        said = status(sidecar.state).splitlines()
        heads, cells = next((head, row) for head, row in itertools.pairwise(said) if head.startswith("SERVER"))
        shown = dict(zip(heads.replace("UP FOR", "UP").split(), re.split(r"  +", cells), strict=True))
        assert (shown["ALLOWED"], shown["DENIED"], shown["HELD"]) == ("0", "1", "2")
    assert "0 calls were allowed, 2 held for an approval, and 1 denied." in status(sidecar.state)


def test_a_rule_stands_where_the_newest_of_the_files_says(tmp_path: Path) -> None:
    for name, line in (("a.jsonl", 9), ("a.000001.jsonl", 4)):
        (tmp_path / name).write_bytes(audit_line("deny", file="policy.yaml", line=line, decision_id="a-1"))
    assert list(status_audit.counted(str(tmp_path / "a.jsonl")).places.values()) == ["policy.yaml:9"]


def test_a_denial_without_a_rule_says_its_kind(tmp_path: Path) -> None:
    one = looked_at()
    status_telemetry.read(
        'mcp_policy_build_info{opa="1"} 1\n'
        'mcp_policy_decisions_total{tool="t",decision="deny",kind="store_unavailable",rule=""} 1\n',
        one,
    )
    path = tmp_path / "a.jsonl"
    path.write_bytes(audit_line("deny", kind="store_unavailable", rule="", decision_id="a-1"))
    found = Status("f", [one], Counted(), status_audit.recent([str(path)]), Waiting())
    shown = lines(found, 0.0, 80)
    assert "1  t  (store_unavailable)" in shown
    assert "2026-11-30  t  (store_unavailable)  a-1" in shown
    told = found.document()
    assert [said["kind"] for said in told["top_denials"] + told["recent_denials"]] == ["store_unavailable"] * 2
