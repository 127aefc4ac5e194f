"""Calls that wait in place for a person, on the pipes: what the client hears, what ends the wait, pages to open."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.approvals import people
from tests.support.approver import Approver
from tests.support.peer import SECONDS, Sidecar, denied, kind

POLICY: Final = """
approvals: {hold: 30s}
tools:
  sell:
    rules:
      - {name: asks, action: require_approval, reason: Ask the desk}
"""
IMPATIENT: Final = POLICY.replace("30s", "1s")
PATIENT: Final = POLICY.replace("approvals: {hold: 30s}", "approvals: {}")
PAGE: Final = "https://desk.example"
URLS: Final[dict[str, Any]] = {"elicitation": {"form": {}, "url": {}}}
META: Final = "io.modelcontextprotocol/"
STATELESS: Final = {
    f"{META}protocolVersion": "2026-07-28",
    f"{META}clientInfo": {"name": "a", "version": "1"},
    f"{META}clientCapabilities": URLS,
}
SELL: Final = {"name": "sell", "arguments": {"n": 1}}


@contextmanager
def with_page(folder: Path, policy: str) -> Iterator[tuple[Sidecar, Approver]]:
    """A sidecar with a page on which people can answer."""
    approvers = people.write(folder / "approvers.yaml", *people.EVERYBODY)
    page = ("--approvals", "127.0.0.1:0", "--approvers-file", str(approvers), "--approvals-url", PAGE)
    with Sidecar(folder, policy, *page) as sidecar:
        yield sidecar, Approver(sidecar.state)


def hello(sidecar: Sidecar, revision: str, capabilities: dict[str, Any] = URLS) -> None:
    about = {"name": "a", "version": "1"}
    sidecar.request("initialize", {"protocolVersion": revision, "capabilities": capabilities, "clientInfo": about})
    sidecar.send({"jsonrpc": "2.0", "method": "notifications/initialized"})


def test_a_held_call_is_answered_by_the_server_once_a_person_says_yes(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = sidecar.post("tools/call", {**SELL, "_meta": {"progressToken": "t"}})
        progress = sidecar.read()
        assert progress["method"] == "notifications/progress"
        assert progress["params"]["progressToken"] == "t"
        assert progress["params"]["message"] == "waiting for an approval: Ask the desk"
        assert sidecar.request("ping") == {"jsonrpc": "2.0", "id": id_ + 1, "result": {}}
        assert sidecar.received == []
        record = ann.approve(ann.pending().id)
        assert json.loads(sidecar.reply(id_)["result"]["content"][0]["text"]) == {"n": 1}
        ann.reaches(record.id, "consumed")
        assert len(sidecar.received) == 1


def test_a_held_call_that_a_person_refuses_is_refused(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = sidecar.post("tools/call", SELL)
        ann.deny(ann.pending().id, "no")
        assert kind(sidecar.reply(id_)) == "approval_denied"
        assert sidecar.received == []


def test_a_call_that_was_held_as_long_as_may_be_is_told_to_come_back_and_can(tmp_path: Path) -> None:
    with Sidecar(tmp_path, IMPATIENT) as sidecar:
        ann = Approver(sidecar.state)
        error = sidecar.call("sell", {"n": 1})["error"]
        assert (error["code"], error["data"]["approval_id"]) == (-32003, ann.pending().id)
        ann.approve(ann.pending().id)
        assert "result" in sidecar.call("sell", {"n": 1})
        assert len(sidecar.received) == 1


def test_a_held_call_that_is_cancelled_is_not_sent_and_its_approval_stands(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = sidecar.post("tools/call", SELL)
        record = ann.pending()
        sidecar.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}})
        assert sidecar.until_ping() == []
        ann.approve(record.id)
        assert "result" in sidecar.call("sell", {"n": 1})
        assert (len(sidecar.received), ann.state(record.id)) == (1, "consumed")


def test_a_policy_that_refuses_meanwhile_wins_over_the_yes(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = sidecar.post("tools/call", SELL)
        record = ann.pending()
        (tmp_path / "policy.yaml").write_text(POLICY.replace("require_approval, reason: Ask the desk", "deny"))
        sidecar.wait_for_error("in force")
        ann.approve(record.id)
        assert denied(sidecar.reply(id_)) == 'Denied by rule "asks"'
        assert sidecar.received == []


def test_a_sidecar_that_is_asked_to_stop_answers_what_it_holds(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        id_ = sidecar.post("tools/call", SELL)
        Approver(sidecar.state).pending()
        sidecar.process.send_signal(signal.SIGTERM)
        assert sidecar.reply(id_)["error"]["code"] == -32003
        sidecar.wait(SECONDS)


def test_a_client_that_goes_while_its_call_is_held_does_not_keep_us(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        sidecar.post("tools/call", SELL)
        record = Approver(sidecar.state).pending()
        assert sidecar.process.stdout is not None
        sidecar.process.stdout.close()
        sidecar.close()
        sidecar.wait(SECONDS)
        assert sidecar.received == []
        assert Approver(sidecar.state).state(record.id) == "pending"


def test_calls_in_a_batch_are_answered_at_once(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        hello(sidecar, "2025-03-26")
        calls = [{"name": "sell", "arguments": {"n": n}} for n in (1, 2)]
        batch = [{"jsonrpc": "2.0", "id": f"b{at}", "method": "tools/call", "params": call}
                 for at, call in enumerate(calls)]  # fmt: skip
        sidecar.send(batch)
        assert [(one["id"], one["error"]["code"]) for one in sidecar.read()] == [("b0", -32003), ("b1", -32003)]


# A page to open.


@pytest.mark.parametrize("action", ["accept", "decline"])
def test_a_client_that_takes_pages_is_sent_to_ours_while_its_call_is_held(tmp_path: Path, action: str) -> None:
    with with_page(tmp_path, POLICY) as (sidecar, ann):
        hello(sidecar, "2025-11-25")
        id_ = sidecar.post("tools/call", SELL)
        request = sidecar.read()
        record = ann.pending()
        assert request["method"] == "elicitation/create"
        assert request["params"]["url"] == f"{PAGE}/approvals/{record.id}"
        sidecar.send({"jsonrpc": "2.0", "id": request["id"], "result": {"action": action}})
        assert sidecar.until_ping() == []
        ann.approve(record.id)
        complete = sidecar.read()
        assert (complete["method"], complete["params"]["elicitationId"]) == (
            "notifications/elicitation/complete", request["params"]["elicitationId"]
        )  # fmt: skip
        assert "result" in sidecar.reply(id_)
        assert len(sidecar.received) == 1


@pytest.mark.parametrize(("revision", "capabilities"), [("2025-11-25", {}), ("2025-06-18", URLS)])
def test_a_client_that_takes_no_pages_is_sent_to_none(
    tmp_path: Path, revision: str, capabilities: dict[str, Any]
) -> None:
    with with_page(tmp_path, POLICY) as (sidecar, ann):
        hello(sidecar, revision, capabilities)
        id_ = sidecar.post("tools/call", SELL)
        ann.approve(ann.pending().id)
        assert sidecar.read()["id"] == id_


def test_where_somebody_else_has_to_agree_nobody_is_sent_to_the_page(tmp_path: Path) -> None:
    policy = PATIENT.replace("approvals: {}", "approvals: {four_eyes: true}")
    with with_page(tmp_path, policy) as (sidecar, _):
        assert sidecar.request("tools/call", {**SELL, "_meta": STATELESS})["error"]["code"] == -32003


def test_a_client_without_sessions_gets_the_page_as_a_result_and_its_repeated_call_goes_through_once(
    tmp_path: Path,
) -> None:
    with with_page(tmp_path, PATIENT) as (sidecar, ann):
        call = {**SELL, "_meta": STATELESS}
        result = sidecar.request("tools/call", call)["result"]
        record = ann.pending()
        ((key, question),) = result["inputRequests"].items()
        assert result["resultType"] == "input_required"
        assert question == {
            "method": "elicitation/create",
            "params": {"mode": "url", "url": f"{PAGE}/approvals/{record.id}", "message": "Ask the desk"},
        }
        again = {**call, "requestState": result["requestState"], "inputResponses": {key: {"action": "accept"}}}
        early = sidecar.request("tools/call", again)["error"]
        assert (early["code"], early["data"]["approval_id"]) == (-32003, record.id)
        ann.approve(record.id)
        assert "result" in sidecar.request("tools/call", again)
        (line,) = sidecar.received
        assert json.loads(line)["params"] == call
        assert ann.state(record.id) == "consumed"
        assert sidecar.request("tools/call", again)["error"]["data"]["approval_id"] != record.id


def test_a_repeated_call_of_a_client_without_sessions_waits_in_place(tmp_path: Path) -> None:
    with with_page(tmp_path, POLICY) as (sidecar, ann):
        call = {**SELL, "_meta": STATELESS}
        result = sidecar.request("tools/call", call)["result"]
        answers = {key: {"action": "accept"} for key in result["inputRequests"]}
        id_ = sidecar.post("tools/call", {**call, "requestState": result["requestState"], "inputResponses": answers})
        ann.approve(ann.pending().id)
        assert "content" in sidecar.reply(id_)["result"]


def test_a_state_that_is_made_up_approves_nothing_and_no_other_call(tmp_path: Path) -> None:
    with with_page(tmp_path, PATIENT) as (sidecar, ann):
        call = {**SELL, "_meta": STATELESS}
        state = sidecar.request("tools/call", call)["result"]["requestState"]
        record = ann.approve(ann.pending().id)
        other = {**call, "arguments": {"n": 2}, "requestState": state}
        assert sidecar.request("tools/call", other)["error"]["data"]["approval_id"] != record.id
        forged = {**call, "arguments": {"n": 3}, "requestState": f"intercept-approval.{record.id}."}
        assert sidecar.request("tools/call", forged)["error"]["data"]["approval_id"] != record.id
        assert sidecar.received == []
