"""The log of a real sidecar: every line has its form, and the program behind us is heard without holding us up."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.support import SIDECAR
from tests.support.peer import SECONDS, Sidecar, until

POLICY = "tools: {shut: {rules: [{action: deny, reason: no}]}}\ndefault: allow\n"
LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (DEBUG|INFO|WARNING|ERROR|CRITICAL) [a-z]+(_[a-z]+)* \S.*")


def server(script: str) -> list[str]:
    """A server in a few lines of Python, which answers every call once it has run the script."""
    loop = (
        "for line in sys.stdin:\n"
        "  asked, answer = json.loads(line), {'content': [], 'isError': False}\n"
        "  if 'id' in asked: print(json.dumps({'jsonrpc': '2.0', 'id': asked['id'], 'result': answer}), flush=True)"
    )
    return [sys.executable, "-S", "-E", "-c", f"import json, os, subprocess, sys\n{script}\n{loop}"]


def test_every_line_of_a_json_log_is_an_object_with_an_event(tmp_path: Path) -> None:
    script = "print('hello\\x1b[2J', file=sys.stderr, flush=True)"
    with Sidecar(tmp_path, POLICY, "--log-format", "json", server=server(script), ready=False) as sidecar:
        sidecar.wait_for_error('"event": "ready"')
        sidecar.call("shut")
        until(lambda: '"server_stderr"' in sidecar.errors)
        sidecar.end()
        lines = [json.loads(line) for line in sidecar.errors.splitlines()]
    assert all({"time", "level", "event", "message"} <= set(line) for line in lines)
    (denied,) = [line for line in lines if line["event"] == "call_denied"]
    assert (denied["tool"], denied["kind"], denied["level"]) == ("shut", "rule", "info")
    assert denied["decision_id"] in [line.get("decision_id") for line in sidecar.audit]
    (said,) = [line for line in lines if line["event"] == "server_stderr"]
    assert said["message"] == "server: hello\\u001b[2J"


def test_a_start_that_fails_is_an_object_too(tmp_path: Path) -> None:
    for policy, status in (("tools: [", 1), ("default: maybe\n", 1)):
        with Sidecar(tmp_path, policy, "--log-format", "json", ready=False) as sidecar:
            assert sidecar.wait() == status
            lines = [json.loads(line) for line in sidecar.errors.splitlines()]
        assert {line["event"] for line in lines} == {"start_failed"}
        assert "policy.yaml:" in lines[0]["message"]


def test_every_line_of_a_text_log_has_time_level_and_event_but_those_that_programs_wait_for(tmp_path: Path) -> None:
    script = "print('hello', file=sys.stderr, flush=True)"
    with Sidecar(tmp_path, POLICY, server=server(script)) as sidecar:
        sidecar.call("shut")
        until(lambda: "server_stderr" in sidecar.errors)
        sidecar.end()
        lines = sidecar.errors.splitlines()
    assert "ready" in lines
    assert [line for line in lines if not LINE.fullmatch(line)] == ["ready"]


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_a_program_that_cannot_start_says_why_at_any_level(tmp_path: Path, level: str) -> None:
    script = "print('cannot find module okx', file=sys.stderr, flush=True); sys.exit(3)"
    with Sidecar(tmp_path, POLICY, "--log-level", level, server=server(script), ready=False) as sidecar:
        assert sidecar.wait() == 3
        assert sidecar.errors.count("server: cannot find module okx") == 1
        assert "the MCP server ended with status 3" in sidecar.errors


def test_a_program_that_floods_its_error_stream_is_not_stopped_and_holds_up_no_call(tmp_path: Path) -> None:
    script = (
        "import threading\n"
        "def flood():\n"
        "  for _ in range(2000): os.write(2, b'x' * 99 + b'\\n' + b'y' * 9900 + b'\\n')\n"
        "  open('flooded', 'w').close()\n"
        "threading.Thread(target=flood, daemon=True).start()"
    )
    with Sidecar(tmp_path, POLICY, server=["env", "-C", str(tmp_path), *server(script)]) as sidecar:
        assert sidecar.call("t")["result"]["isError"] is False
        until((tmp_path / "flooded").exists)
        assert sidecar.call("t")["result"]["isError"] is False
        sidecar.end()
        assert len(sidecar.errors.splitlines()) < 1_200
        assert "lines of the MCP server's error stream were not shown" in sidecar.errors


def test_a_program_that_leaves_another_one_on_its_error_stream_does_not_keep_us(tmp_path: Path) -> None:
    sleeper = "left = subprocess.Popen(['sleep', '600'], stdin=-3, stdout=-3, start_new_session=True)"
    script = f"{sleeper}\nprint('bye', left.pid, file=sys.stderr, flush=True)"
    with Sidecar(tmp_path, POLICY, server=server(script)) as sidecar:
        sidecar.wait_for_error("server: bye")
        found = re.search(r"server: bye (\d+)", sidecar.errors)
        assert found is not None
        try:
            assert sidecar.end() == 0
        finally:
            os.kill(int(found[1]), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_client_that_never_reads_our_log_is_answered_all_the_same(tmp_path: Path, kind: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    flood = "for number in range(3000): os.write(2, b'x' * 2000 + b'\\n')"
    command = [str(SIDECAR), "run", "-c", "policy.yaml", "--state-dir", "state", "--", *server(flood)]
    reading, writing = (one.detach() for one in socket.socketpair()) if kind == "socket" else os.pipe()
    sidecar = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=writing, cwd=tmp_path, text=True
    )
    os.close(writing)
    bound = threading.Timer(SECONDS, sidecar.kill)
    bound.start()
    assert sidecar.stdin is not None
    assert sidecar.stdout is not None
    try:
        for number in range(50):
            # Each of them is a line of the log too.
            call = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": {"name": "shut"}}
            sidecar.stdin.write(json.dumps(call) + "\n")
            sidecar.stdin.flush()
            assert json.loads(sidecar.stdout.readline())["id"] == number
        sidecar.stdin.close()
        assert sidecar.wait(SECONDS) == 0
    finally:
        bound.cancel()
        sidecar.kill()
        sidecar.wait(SECONDS)
        sidecar.stdout.close()
        os.close(reading)
