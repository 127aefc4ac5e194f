"""A call that was approved, and that its agent repeats without knowing what became of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import SIDECAR
from tests.support.peer import SECONDS, kind, until
from tests.wire.http.client import Agent, call
from tests.wire.http.running import received, running

POLICY = """
tools:
  sell: {rules: [{action: require_approval, grant: {for: 1h, calls: 10, same: [args.n]}}]}
"""


def test_an_agent_that_lost_its_connection_does_not_run_its_call_twice_under_a_standing_approval(
    tmp_path: Path,
) -> None:
    with running(tmp_path, policy=POLICY) as listener:
        agent = Agent.with_session(listener.url)
        order = {"stub": "mute", "n": 1}
        id_ = agent.call("sell", order)["error"]["data"]["approval_id"]
        command = [str(SIDECAR), "approvals", "approve", id_, "--grant", "--state-dir", str(tmp_path / "state")]
        subprocess.run(command, capture_output=True, timeout=SECONDS, check=True)
        with agent.opened(call("sell", order, 2)):
            until(lambda: received(tmp_path))
        assert kind(agent.call("sell", order, 3)) == "approval_in_use"
        assert kind(agent.call("sell", {"n": 1}, 4)) is None  # one like it
        assert len(received(tmp_path)) == 2
