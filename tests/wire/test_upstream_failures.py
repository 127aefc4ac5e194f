"""A server that fails, as an operator meets it: the outcome line of the audit log and the probe say why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from tests.support.listener import Listener, sidecar
from tests.support.peer import Sidecar, until
from tests.wire.http.server import Upstream

POLICY = "default: allow\ntools: {}\n"


def outcomes(state: Path) -> list[dict[str, Any]]:
    """Every outcome line of the sidecars with this state folder."""
    lines = [line for file in (state / "events").glob("*.jsonl") for line in file.read_text().splitlines()]
    return [one for one in map(json.loads, lines) if one["event"] == "outcome"]


def call(listener: Listener) -> Any:
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t", "arguments": {}}}
    return httpx.post(listener.url, json=message, trust_env=False, timeout=15).json()


def readyz(listener: Listener) -> list[str]:
    """What the probe says; it must be ready."""
    found = listener.errors.partition("telemetry on ")[2].partition("/metrics")[0]
    answer = httpx.get(f"{found}/readyz", trust_env=False)
    assert answer.status_code == 200
    assert httpx.head(f"{found}/readyz", trust_env=False).status_code == 200
    return answer.text.splitlines()


def test_a_server_that_is_not_there_is_in_the_audit_log_and_in_the_probe_until_it_answers(tmp_path: Path) -> None:
    with Upstream() as upstream:
        upstream.stop()
        options = ("--transport", "http", "--port", "0", "--upstream", upstream.url)
        with Listener(sidecar(tmp_path, POLICY, *options), tmp_path, says="ready\n") as listener:
            assert readyz(listener) == ["ready"]
            assert call(listener)["error"]["data"] == {"upstream": "refused"}
            ready, note = readyz(listener)
            assert ready == "ready"
            said = "Z the MCP server cannot be reached: the connection is refused"
            assert note.endswith(f"{said} (127.0.0.1:{upstream.port})")
            upstream.start_again()
            assert "result" in call(listener)
            assert readyz(listener) == ["ready"]
            until(lambda: len(outcomes(tmp_path / "state")) == 2)
    first, second = outcomes(tmp_path / "state")
    assert (first["outcome"], first["cause"]) == ("not_run", "refused")
    assert second["outcome"] == "answered"
    assert "cause" not in second


def test_a_program_that_ends_is_in_the_audit_log_and_how_it_ended_in_the_log(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as running:
        assert "error" in running.call("t", {"stub": "die"})
        running.process.wait(15)
        [line] = outcomes(running.state)
        assert (line["outcome"], line["cause"]) == ("lost", "ended")
        assert "the MCP server ended with status 7" in running.errors
