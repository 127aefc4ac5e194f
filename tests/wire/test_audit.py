"""The audit log of real runs: every line is as the schema says, and what happened stands in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.audit.forms.form import form_of
from sidecar.settings import AUDIT_FORMATS, AuditFormat
from tests.audit.readers import cef, rfc5424
from tests.audit.schema import valid
from tests.support import SIDECAR
from tests.support.audit_lines import every_line
from tests.support.peer import TELEMETRY, Sidecar, denied, until
from tests.wire.http.client import Agent, call
from tests.wire.http.running import running
from tests.wire.http.server import Upstream

SECRET = "4929-1234-5678-9012"
POLICY = """
methods: {deny: [resources/list]}
hide: [buried]
tools:
  free: {rules: []}
  never: {class: Financial, severity: critical, rules: [{name: no calls, action: deny, reason: Never}]}
  once: {rules: [{name: once, rate_limit: 1/day}]}
  small: {rules: [{name: small, conditions: [{path: args.amount, op: lte, value: 5}]}]}
  watched: {rules: [{name: watched, mode: shadow, action: deny, reason: Not really}]}
  asked: {rules: [{name: ask, action: require_approval, reason: Ask first}]}
"""
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def of(lines: list[dict[str, Any]], event: str, **members: Any) -> list[dict[str, Any]]:
    """The lines of an event that have these members."""
    return [line for line in lines if line["event"] == event and members.items() <= line.items()]


def test_a_run_over_stdio_leaves_lines_that_the_schema_knows_from_its_start_to_its_end(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        sidecar.call("free", {"card": SECRET})
        traced = {"name": "free", "_meta": {"traceparent": TRACE}}
        sidecar.request("tools/call", traced)
        for tool in ("never", "once", "once", "watched", "buried", "asked"):
            sidecar.call(tool, {"card": SECRET})
        sidecar.call("small", {"amount": 6, "card": SECRET})
        sidecar.request("resources/list")
        sidecar.send_bytes(b'{"jsonrpc":"2.0","id":99,"id":99,"method":"tools/call"}\n')
        sidecar.call("free", {"card": SECRET})
        (tmp_path / "policy.yaml").write_text("tools: [no map]")
        sidecar.wait_for_error("the old one stays in force")
        (tmp_path / "policy.yaml").write_text(f"{POLICY}  more: {{rules: []}}\n")
        sidecar.wait_for_error("the changed policy is in force")
        assert sidecar.end() == 0
    lines = every_line(tmp_path / "intercept-sidecar")
    assert valid(lines) == {
        "call", "unread", "method", "outcome", "approval_changed", "start", "stop", "policy",
    }  # fmt: skip
    assert SECRET not in json.dumps(lines)
    (start,), (stop,) = of(lines, "start"), of(lines, "stop")
    assert (lines[0], lines[-1]) == (start, stop)
    assert (start["client_transport"], start["upstream_transport"], start["authentication"]) == (
        "stdio", "stdio", "none",
    )  # fmt: skip
    assert (stop["status"], stop["why"]) == (0, "client_left")
    decided, ended = of(lines, "decision", decision="allow"), of(lines, "outcome")
    assert sorted(line["decision_id"] for line in decided) == sorted(line["decision_id"] for line in ended)
    assert {line["outcome"] for line in ended} == {"answered"}
    (never,) = of(lines, "decision", tool="never")
    assert (never["file"], never["class"], never["severity"]) == ("policy.yaml", "Financial", "critical")
    assert POLICY.splitlines()[never["line"] - 1].startswith("  never:")
    assert len(of(lines, "decision", trace_id=TRACE[3:35])) == 1
    (watched,) = of(lines, "decision", tool="watched")
    assert [item["shadow"] for item in watched["violations"]] == [True]
    refused, accepted = of(lines, "policy")
    assert (refused["accepted"], accepted["accepted"], accepted["serial"]) == (False, True, 2)


def test_a_run_over_http_tells_of_sign_ins_and_of_a_server_that_is_gone(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("good-token\n")
    with Upstream() as upstream:
        options = ("--auth-token-file", str(tokens), "--upstream", upstream.url)
        with running(tmp_path / "run", *options, policy=POLICY) as listener:
            agent = Agent(listener.url, "Authorization: Bearer good-token")
            assert agent.post(call("free")).status == 200
            assert agent.post(call("never")).status == 200
            assert Agent(listener.url, "Authorization: Bearer bad-token").post(call("free")).status == 401
            upstream.stop()
            agent.post(call("free"))
            listener.process.send_signal(signal.SIGTERM)
            assert listener.wait() == 0
    lines = every_line(tmp_path / "run" / "state")
    assert valid(lines) == {"call", "outcome", "start", "stop", "sign_in_failed"}
    assert "-token" not in json.dumps(lines)
    assert of(lines, "start", client_transport="http", upstream_transport="http", authentication="token")
    (failed,) = of(lines, "sign_in_failed")
    assert (failed["status"], failed["reason"], failed["times"]) == (401, "credentials", 1)
    assert failed["peer"].startswith("127.0.0.1")
    answered, gone = of(lines, "outcome")
    assert (answered["outcome"], gone["outcome"], gone["cause"]) == ("answered", "not_run", "refused")
    assert of(lines, "stop", why="signal", signal="SIGTERM", status=0)


def ended_by_a_signal(sidecar: Sidecar) -> dict[str, Any]:
    sidecar.process.send_signal(signal.SIGINT)
    return {"why": "signal", "signal": "SIGINT", "status": sidecar.wait()}


def ended_by_its_server(sidecar: Sidecar) -> dict[str, Any]:
    (server,) = sidecar.children("received.jsonl")
    os.kill(server, signal.SIGTERM)
    return {"why": "server_ended", "status": sidecar.wait()}


def ended_by_its_client(sidecar: Sidecar) -> dict[str, Any]:
    return {"status": sidecar.end(), "why": "client_left"}


@pytest.mark.parametrize("end", [ended_by_a_signal, ended_by_its_server, ended_by_its_client])
def test_the_last_line_says_what_ended_it(tmp_path: Path, end: Callable[[Sidecar], dict[str, Any]]) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        assert denied(sidecar.call("free")) is None
        how = end(sidecar)
    lines = every_line(tmp_path / "intercept-sidecar")
    valid(lines)
    assert how.items() <= lines[-1].items()
    assert [line["event"] for line in lines] == ["start", "decision", "outcome", "stop"]


def test_an_outcome_does_not_wait_for_another_call(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        sidecar.call("free")
        until(lambda: of(every_line(sidecar.state), "outcome"), what="the line of the outcome")


def test_a_metric_counts_the_lines_by_their_event(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        sidecar.initialize()
        for tool in ("free", "never"):
            sidecar.call(tool)
        until(lambda: of(every_line(sidecar.state), "outcome"), what="the line of the outcome")
        lines = every_line(sidecar.state)
        for event, count in (("decision", 2), ("outcome", 1), ("start", 1), ("stop", 0)):
            assert sidecar.metric("audit_lines_total", event=event) == len(of(lines, event)) == count


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_each_form_goes_to_standard_error_line_by_line(tmp_path: Path, form: str) -> None:
    with Sidecar(tmp_path, POLICY, "--audit", "stderr", "--audit-format", form) as sidecar:
        sidecar.initialize()
        sidecar.call("a=b|c]\\")
        sidecar.end()
    read: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "cef": cef, "rfc5424": rfc5424}
    begins = {"json": "{", "cef": "CEF:", "rfc5424": "<1"}[form]
    lines = [read[form](line.encode()) for line in sidecar.errors.splitlines() if line.startswith(begins)]
    assert len(lines) >= 3
    assert "a=b|c]\\" in str(lines) or "a=b|c]\\\\" in str(lines)


@pytest.mark.parametrize("form", AUDIT_FORMATS)
def test_each_form_goes_to_standard_output_where_clients_are_on_http(tmp_path: Path, form: AuditFormat) -> None:
    with Upstream() as upstream:
        options = ("--audit", "stdout", "--audit-format", form, "--upstream", upstream.url)
        with running(tmp_path / "run", *options, policy=POLICY) as listener:
            assert Agent(listener.url).post(call("never")).status == 200
            lines = [listener.read_line() for _ in range(2)]
            assert not list((tmp_path / "run" / "state" / "events").iterdir())
    for number, line in enumerate(lines, 1):
        assert line is not None
        unsealed = form_of(form).unseal(line)
        assert unsealed is not None
        assert unsealed[1] == number
    read: dict[str, Callable[[bytes], Any]] = {"json": json.loads, "cef": cef, "rfc5424": rfc5424}
    start, never = (read[form](line) for line in lines if line is not None)
    assert "start" in str(start)
    assert "no calls" in str(never)


def test_answers_on_the_command_line_are_lines_of_the_same_schema(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.initialize()
        sidecar.call("asked")
        (one,) = json.loads(approvals(sidecar, "list", "--json"))
        approvals(sidecar, "deny", one["id"], "--reason", "not today")
    lines = every_line(tmp_path / "intercept-sidecar")
    valid(lines)
    (line,) = of(lines, "approval", state="denied", instance="cli")
    assert (line["verdict"], line["via"], line["reason"]) == ("deny", "cli", "not today")


def approvals(sidecar: Sidecar, *words: str) -> str:
    """What a command of `sidecar approvals` prints."""
    command = [str(SIDECAR), "approvals", *words, "--state-dir", str(sidecar.state)]
    done = subprocess.run(command, check=True, capture_output=True, timeout=30)
    return done.stdout.decode()


def test_a_start_that_fails_is_a_line_too(tmp_path: Path) -> None:
    (tmp_path / "intercept-sidecar" / "counters.db").mkdir(parents=True, mode=0o700)
    (tmp_path / "intercept-sidecar").chmod(0o700)
    with Sidecar(tmp_path, POLICY, ready=False) as sidecar:
        assert sidecar.wait() == 1
    (stop,) = every_line(tmp_path / "intercept-sidecar")
    assert valid([stop]) == {"stop"}
    assert (stop["status"], stop["why"]) == (1, "error")
