"""`policies/okx-approval.yaml` with the real mcp-okx and the stub exchange: people answer, and orders go out once.

The policy lets a call wait in place, so each call is sent first and answered while it waits.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from programs.demo.exchange import CANCEL_ORDER, PLACE_ORDER
from tests.peers.test_okx_policies import CANCEL, ORDER, Desk, desk
from tests.support import SIDECAR
from tests.support.peer import SECONDS, Sidecar, denied, until

LARGE = ORDER | {"sz": "6"}
"""1128 USD, where 1000 need an approval of their own."""
MIDDLE = ORDER | {"sz": "2"}


class ApprovedDesk:
    """A desk, and somebody who answers on its state folder."""

    def __init__(self, found: Desk) -> None:
        assert isinstance(found.peer, Sidecar)
        self.peer = found.peer
        self.exchange = found.exchange

    def people(self, *words: str) -> Any:
        """What `sidecar approvals` prints."""
        command = [str(SIDECAR), "approvals", *words, "--state-dir", str(self.peer.state), "--json"]
        done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def pending(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.people("list", "--state", "pending")
        return found

    def asked(self, tool: str, arguments: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Make a call that a person is asked about: its id, and what the person sees."""
        id_ = self.peer.post("tools/call", {"name": tool, "arguments": arguments})
        until(lambda: len(self.pending()) == 1)
        return id_, self.pending()[0]

    def sent(self, path: str) -> int:
        """How many requests the exchange got there."""
        return sum(request.path == path for request in self.exchange.received)


@pytest.fixture
def approved(tmp_path: Path) -> Iterator[ApprovedDesk]:
    with desk(tmp_path, "okx-approval") as found:
        yield ApprovedDesk(found)


def test_a_cancel_that_is_approved_reaches_the_exchange_once_and_a_replay_asks_anew(approved: ApprovedDesk) -> None:
    id_, seen = approved.asked("cancel_order", CANCEL)
    assert (seen["tool"], seen["reason"], seen["class"]) == ("cancel_order", "Requires human approval", "Financial")
    assert seen["arguments"] == CANCEL
    assert (seen["file"], seen["rule"]) == ("okx-approval.yaml", "every cancel")
    assert approved.sent(CANCEL_ORDER) == 0
    approved.people("approve", seen["id"], "--by", "alice")
    assert denied(approved.peer.reply(id_)) is None
    assert approved.sent(CANCEL_ORDER) == 1
    again, asked = approved.asked("cancel_order", CANCEL)
    assert asked["id"] != seen["id"]
    approved.people("deny", asked["id"], "--by", "alice", "--reason", "once is enough")
    refusal = denied(approved.peer.reply(again))
    assert refusal is not None
    assert refusal.startswith("A person refused this call: once is enough")
    assert approved.sent(CANCEL_ORDER) == 1


def test_an_order_of_middle_size_may_be_agreed_to_five_times_and_no_other_one_with_it(approved: ApprovedDesk) -> None:
    id_, seen = approved.asked("place_order", MIDDLE)
    assert seen["grant_terms"] is not None
    approved.people("approve", seen["id"], "--grant", "--by", "alice")
    assert denied(approved.peer.reply(id_)) is None
    for number in range(4):
        assert denied(approved.peer.call("place_order", MIDDLE | {"clOrdId": f"n{number}"})) is None
    assert approved.sent(PLACE_ORDER) == 5
    _, sixth = approved.asked("place_order", MIDDLE)
    approved.people("deny", sixth["id"], "--by", "alice")
    _, other = approved.asked("place_order", MIDDLE | {"side": "sell"})
    assert other["arguments"]["side"] == "sell"
    assert approved.sent(PLACE_ORDER) == 5


def test_a_large_order_is_agreed_to_by_itself_in_the_shorter_time_and_for_the_reason_of_its_rule(
    approved: ApprovedDesk,
) -> None:
    _, seen = approved.asked("place_order", LARGE)
    assert seen["reason"].startswith("Orders of more than 1000 USD")
    assert seen["grant_terms"] is None
    assert 240 < seen["seconds_left"] <= 300


def test_a_small_order_asks_nobody_and_what_nobody_may_approve_is_refused(approved: ApprovedDesk) -> None:
    assert denied(approved.peer.call("place_order", ORDER | {"sz": "0.5"})) is None
    refusal = denied(approved.peer.call("place_order", ORDER | {"sz": "50"}))
    assert refusal is not None
    assert refusal.startswith("At most 5000 USD an order, with or without an approval")
    assert approved.pending() == []
