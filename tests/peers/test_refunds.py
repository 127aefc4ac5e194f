"""Servers of the official SDKs that fail after their tool did its work: what it did counts against the limit."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.node import FOLDER, NODE
from tests.support.peer import Sidecar, denied

SERVERS: Final = {
    "python": [sys.executable, "-m", "tests.servers.failing"],
    "typescript": [str(NODE), str(FOLDER / "failing.mjs")],
}
CALLS: Final = 8


def paid(folder: Path, sdk: str, raises: str, refund: str = "") -> int:
    """How often the tool ran when it was called more often than three times a day allow."""
    done = folder / "done.txt"
    policy = f"tools: {{pay: {{rules: [{{rate_limit: 3/day{refund}}}]}}}}\n"
    with Sidecar(folder, policy, server=[*SERVERS[sdk], str(done)]) as sidecar:
        sidecar.initialize()
        replies = [sidecar.call("pay", {"raises": raises}) for _ in range(CALLS)]
    ran = len(done.read_text().splitlines())
    assert ran == len([reply for reply in replies if denied(reply) is None])
    assert all("error" in reply for reply in replies[:ran])
    return ran


@pytest.mark.parametrize("raises", ["an exception", "invalid params"])
@pytest.mark.parametrize("sdk", SERVERS)
def test_a_tool_that_fails_after_its_work_runs_no_more_often_than_its_limit(
    tmp_path: Path, sdk: str, raises: str
) -> None:
    assert paid(tmp_path, sdk, raises) == 3


@pytest.mark.parametrize("sdk", SERVERS)
def test_who_trusts_his_server_has_every_error_given_back(tmp_path: Path, sdk: str) -> None:
    assert paid(tmp_path, sdk, "an exception", ", refund: on_error") == CALLS
