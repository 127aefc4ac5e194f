"""Who hears of approvals while a sidecar runs: webhooks, metrics, the audit log, the log, people on a listener."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.approvals import people
from tests.support import SIDECAR
from tests.support.peer import SECONDS, TELEMETRY, Sidecar, until
from tests.support.ports import free_port
from tests.support.receiver import Receiver, receiving
from tests.support.redis_server import RedisServer

VARIABLE = "HOOK_SECRET"
SECRET = "correct horse battery staple"
SAYS = {VARIABLE: SECRET}
ASKS = "tools:\n  buy: {rules: [{action: require_approval, reason: Ask the desk}]}\n"


def hooked(url: str, variable: str = VARIABLE) -> str:
    """A policy that asks, and tells a webhook."""
    return f"approvals: {{notify: {{webhook: {{url: '{url}', secret_env: {variable}}}}}}}\n{ASKS}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def approvals(sidecar: Sidecar, *words: str) -> Any:
    """What `sidecar approvals` prints on the store of a sidecar."""
    command = [str(SIDECAR), "approvals", *words, "--state-dir", str(sidecar.state), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(sidecar: Sidecar, arguments: dict[str, Any]) -> str:
    """The id of the approval that a call waits for."""
    id_: str = sidecar.call("buy", arguments)["error"]["data"]["approval_id"]
    return id_


def bodies(receiver: Receiver, count: int) -> list[dict[str, Any]]:
    """What the webhook was told."""
    return [json.loads(got.body) for got in receiver.wait_for(count)]


def test_a_call_that_a_person_agrees_to_is_told_counted_and_recorded_from_end_to_end(
    tmp_path: Path, receiver: Receiver
) -> None:
    with Sidecar(tmp_path, hooked(receiver.url), *TELEMETRY, env=SAYS) as sidecar:
        sidecar.initialize()
        id_ = asked(sidecar, {"card": "4929-secret-value"})
        (pending,) = bodies(receiver, 1)
        assert (pending["event"], pending["approval"]["id"], pending["url"]) == ("approval.pending", id_, None)
        assert pending["approval"]["arguments"] == {"card": "4929-secret-value"}
        until(lambda: sidecar.metric("approvals", state="pending") == 1)
        approvals(sidecar, "approve", id_, "--by", "alice", "--reason", "go")
        _, decided = bodies(receiver, 2)
        assert (decided["event"], decided["approval"]["state"]) == ("approval.decided", "approved")
        until(lambda: sidecar.metric("approvals_decided_total", result="approved") == 1)
        assert sidecar.metric("approval_wait_seconds_count") == 1
        assert "result" in sidecar.call("buy", {"card": "4929-secret-value"})
        assert len(sidecar.received) == 1
        until(lambda: sidecar.metric("approval_uses_total", result="consumed", standing="false") == 1)
        until(lambda: sidecar.metric("approvals", state="pending") == 0)
        until(lambda: sidecar.metric("webhook_deliveries_total", result="delivered") == 2)
        lines = [line for line in sidecar.audit if line.get("approval") == id_]
        assert sorted((line["event"], line.get("state", "")) for line in lines) == [
            ("approval", "approved"), ("approval", "consumed"), ("approval", "in_use"), ("approval", "pending"),
            ("decision", ""), ("decision", ""),
        ]  # fmt: skip
        assert f"approval {id_} for buy: approved by alice (cli)" in sidecar.errors
        everything = sidecar.errors + str([{**line, "time": ""} for line in sidecar.audit])
        assert "4929" not in everything
        assert SECRET not in everything
        assert "s3cr3t-path" not in everything


def test_nobody_is_called_where_nobody_is_named_and_the_start_says_so(tmp_path: Path) -> None:
    with Sidecar(tmp_path, ASKS) as sidecar:
        assert "a rule asks a person, and nobody is told" in sidecar.errors


def test_a_start_without_the_secret_of_the_webhook_says_which_variable_to_set(
    tmp_path: Path, receiver: Receiver
) -> None:
    with Sidecar(tmp_path, hooked(receiver.url), ready=False) as sidecar:
        assert sidecar.wait() == 1
        assert f"the environment variable {VARIABLE} is not set" in sidecar.errors


def test_a_changed_policy_whose_webhook_has_no_secret_is_refused(tmp_path: Path, receiver: Receiver) -> None:
    with Sidecar(tmp_path, ASKS) as sidecar:
        (tmp_path / "policy.yaml").write_text(hooked(receiver.url))
        sidecar.wait_for_error("the changed policy is refused, the old one stays in force")
        assert f"the environment variable {VARIABLE} is not set" in sidecar.errors


def test_a_webhook_that_a_changed_policy_names_is_told(tmp_path: Path, receiver: Receiver) -> None:
    with Sidecar(tmp_path, ASKS, env=SAYS) as sidecar:
        (tmp_path / "policy.yaml").write_text(hooked(receiver.url))
        sidecar.wait_for_error("the changed policy is in force")
        asked(sidecar, {})
        assert bodies(receiver, 1)[0]["event"] == "approval.pending"


def test_the_server_cannot_read_the_secret_of_the_webhook(tmp_path: Path, receiver: Receiver) -> None:
    with Sidecar(tmp_path, hooked(receiver.url), env=SAYS) as sidecar:
        (server,) = sidecar.children("received.jsonl")
        for pid in (server, sidecar.opa, sidecar.process.pid):
            assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
        assert f"{VARIABLE}=".encode() not in Path(f"/proc/{server}/environ").read_bytes()


def test_a_receiver_that_hangs_delays_no_call_and_no_end(tmp_path: Path, receiver: Receiver) -> None:
    receiver.waits.clear()
    with Sidecar(tmp_path, hooked(receiver.url), env=SAYS) as sidecar:
        for number in range(20):
            asked(sidecar, {"n": number})
        assert "result" in sidecar.call("free")
        receiver.wait_for(1)
        assert sidecar.end() == 0
        assert "internal error" not in sidecar.errors


def test_people_answer_on_a_listener_and_the_call_goes_through_once(tmp_path: Path) -> None:
    port = free_port()
    people.write(tmp_path / "approvers.yaml", *people.EVERYBODY)
    listens = ("--approvals", f"127.0.0.1:{port}", "--approvers-file", str(tmp_path / "approvers.yaml"))
    with Sidecar(tmp_path, ASKS, *listens) as sidecar:
        assert f"approvals on http://127.0.0.1:{port}" in sidecar.errors
        assert "nobody is told" not in sidecar.errors
        data = sidecar.call("buy")["error"]["data"]
        assert data["url"] == f"http://127.0.0.1:{port}/approvals/{data['approval_id']}"
        with Sidecar(tmp_path, ASKS, *listens, ready=False) as other:
            assert other.wait() == 1
            assert f"cannot listen on 127.0.0.1:{port} for approvals" in other.errors


def test_a_store_that_is_gone_is_said_once_and_what_waits_is_told_when_it_is_back(
    tmp_path: Path, receiver: Receiver
) -> None:
    (tmp_path / "redis").mkdir()
    with RedisServer(tmp_path / "redis") as server:
        store = ["--state-dsn", server.dsn, "--server", "stub"]
        with Sidecar(tmp_path, hooked(receiver.url), env=SAYS, store=store) as sidecar:
            asked(sidecar, {})
            assert bodies(receiver, 1)[0]["event"] == "approval.pending"
            server.kill()
            gone = "approvals do not expire and nobody is told of them"
            sidecar.wait_for_error(gone)
            assert server.start()
            sidecar.wait_for_error("the store can be used again")
            assert sidecar.errors.count(gone) == 1
            asked(sidecar, {"another": "call"})
            until(lambda: any(body["approval"]["arguments"] for body in bodies(receiver, 1)))
