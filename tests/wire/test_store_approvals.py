"""Approvals kept in Redis, on the wire: one store for several sidecars and the command line, also when it goes away."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import SIDECAR
from tests.support.peer import SECONDS, Sidecar, denied, kind, until
from tests.support.redis_server import RedisServer

POLICY = """
tools:
  sell:
    rules:
      - {action: require_approval, conditions: [{path: args.n, op: gt, value: 0}]}
      - {name: day, rate_limit: 3/day}
"""
REFUSED = "The store of counters cannot be used. The call was not forwarded."


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    with RedisServer(folder) as server:
        yield server


def started(folder: Path, server: RedisServer, name: str = "stub") -> Sidecar:
    """A sidecar with its own folder, and its approvals in Redis."""
    folder.mkdir()
    return Sidecar(folder, POLICY, store=["--state-dsn", server.dsn, "--server", name])


def approvals(server: RedisServer, *words: str) -> Any:
    """What `sidecar approvals … --json` says."""
    command = [str(SIDECAR), "approvals", *words, "--json", "--state-dsn", server.dsn]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def asked(reply: Any) -> str:
    """The id of the approval that a call waits for."""
    assert reply["error"]["code"] == -32003, reply
    found: str = reply["error"]["data"]["approval_id"]
    return found


def state(server: RedisServer, id_: str) -> str:
    """Where an approval stands."""
    found: str = approvals(server, "show", id_)["state"]
    return found


def test_a_call_goes_through_once_after_a_yes_from_the_command_line(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path / "one", server) as sidecar:
        id_ = asked(sidecar.call("sell", {"n": 1}))
        approvals(server, "approve", id_)
        assert denied(sidecar.call("sell", {"n": 1})) is None
        until(lambda: state(server, id_) == "consumed")
        assert asked(sidecar.call("sell", {"n": 1})) != id_
        assert len(sidecar.received) == 1


def test_a_yes_for_one_server_is_none_for_another(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path / "one", server) as one, started(tmp_path / "other", server, "other") as other:
        approvals(server, "approve", asked(one.call("sell", {"n": 1})))
        asked(other.call("sell", {"n": 1}))
        assert other.received == []


@pytest.mark.slow
def test_a_call_that_ran_when_its_sidecar_was_killed_is_refused_by_all_others_until_somebody_says_what_became_of_it(
    tmp_path: Path, server: RedisServer
) -> None:
    call = {"stub": "mute", "n": 1}
    with started(tmp_path / "one", server) as one, started(tmp_path / "other", server) as other:
        id_ = asked(one.call("sell", call))
        approvals(server, "approve", id_)
        one.post("tools/call", {"name": "sell", "arguments": call})
        until(lambda: state(server, id_) == "in_use" and one.received)
        one.process.kill()
        one.wait()
        until(lambda: kind(other.call("sell", {"n": 1.0, "stub": "mute"})) == "outcome_unknown", 60)
        until(lambda: state(server, id_) == "unknown", 60)
        approvals(server, "resolve", id_, "--failed")
        assert asked(other.call("sell", call)) != id_
        assert other.received == []


def test_while_redis_is_gone_nothing_is_asked_and_nothing_forwarded(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path / "one", server) as sidecar:
        id_ = asked(sidecar.call("sell", {"n": 1}))
        approvals(server, "approve", id_)
        server.kill()
        assert denied(sidecar.call("sell", {"n": 1})) == REFUSED
        assert denied(sidecar.call("sell", {"n": 2})) == REFUSED
        assert server.start()
        assert denied(sidecar.call("sell", {"n": 1})) is None
        assert len(sidecar.received) == 1


def test_a_call_whose_end_redis_did_not_hear_of_is_noted_when_it_is_back(tmp_path: Path, server: RedisServer) -> None:
    with started(tmp_path / "one", server) as sidecar:
        id_ = asked(sidecar.call("sell", {"n": 1, "stub": "mute"}))
        approvals(server, "approve", id_)
        running = sidecar.post("tools/call", {"name": "sell", "arguments": {"n": 1, "stub": "mute"}})
        until(lambda: sidecar.received)
        server.kill()
        sidecar.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": running}})
        sidecar.wait_for_error("is told again")
        assert server.start()
        until(lambda: state(server, id_) == "unknown")
        assert kind(sidecar.call("sell", {"n": 1, "stub": "mute"})) == "outcome_unknown"
