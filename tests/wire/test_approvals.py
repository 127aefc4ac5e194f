"""Calls that a person has to agree to first: answered with an error that says so, and forwarded once after a yes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.approver import Approver
from tests.support.peer import TELEMETRY, Sidecar, denied, kind, until

POLICY = """
approvals: {timeout: 45m}
tools:
  buy:
    rules:
      - name: large
        action: require_approval
        conditions: [{path: args.amount, op: gt, value: 100}]
        reason: Ask the desk
        approval_timeout: 10m
      - name: day
        rate_limit: 2/day
      - {conditions: [{path: args.amount, op: lte, value: 1000}], reason: Too much}
  sell: {rules: [{action: require_approval}]}
"""


def test_a_call_that_needs_approval_is_an_error_with_rule_and_time(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY) as sidecar:
        error = sidecar.call("buy", {"amount": 101})["error"]
        first, advice = error["message"].split("\n")
        record = Approver(sidecar.state).pending()
        assert (error["code"], first) == (-32003, "[INTERCEPT APPROVAL REQUIRED] Ask the desk")
        assert record.id in advice
        (line,) = [one for one in sidecar.audit if one.get("decision")]
        assert error["data"].items() >= {
            "id": line["decision_id"], "rule": "large", "kind": "approval_required", "revision": line["revision"],
            "timeout_seconds": 600, "approval_id": record.id, "next": advice,
        }.items()  # fmt: skip
        assert error["data"].keys() >= {"expires_at", "retry_after"}
        assert "url" not in error["data"], "there is no page"
        assert (line["decision"], line["kind"], line["reason"]) == ("deny", "approval_required", "Ask the desk")
        assert sidecar.received == []
        assert sidecar.metric("decisions_total", tool="buy", decision="deny", rule="large", mode="enforce") == 1


def test_without_a_time_of_its_own_the_rule_has_that_of_the_file(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        assert sidecar.call("sell")["error"]["data"]["timeout_seconds"] == 2700


@pytest.mark.parametrize("options", [(), ("--no-remember",)])
def test_a_call_that_needs_approval_is_answered_so_each_time_and_takes_nothing(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with Sidecar(tmp_path, POLICY, *options) as sidecar:
        for _ in range(3):
            assert sidecar.call("buy", {"amount": 500})["error"]["code"] == -32003
        assert [denied(sidecar.call("buy", {"amount": 100})) for _ in range(3)] == [
            None,
            None,
            "Rate limit of 2 per day reached. Try again later.",
        ]
        assert len(sidecar.received) == 2


def test_a_refusal_beats_the_request_for_approval_wherever_it_stands(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        assert denied(sidecar.call("buy", {"amount": 5000})) == "Too much"


def test_the_argument_that_asked_for_approval_stands_nowhere(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        reply = sidecar.call("buy", {"amount": 987, "note": "s3cret"})
        told = str(reply) + str([{**line, "arguments_hash": "", "time": ""} for line in sidecar.audit]) + sidecar.errors
        assert "s3cret" not in told


def asked(sidecar: Sidecar, params: Any) -> str | None:
    """Make a call of exactly these parameters: the id of the approval that it waits for, None if it went through."""
    text = params if isinstance(params, str) else json.dumps(params)
    sidecar.send_bytes(b'{"jsonrpc":"2.0","id":"c","method":"tools/call","params":%b}\n' % text.encode())
    reply = sidecar.reply("c")
    if "error" not in reply:
        assert "result" in reply
        return None
    assert reply["error"]["code"] == -32003, reply
    found: str = reply["error"]["data"]["approval_id"]
    return found


def test_an_approved_call_goes_through_once_and_is_asked_about_anew_after_that(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        call = {"name": "sell", "arguments": {"n": 1}}
        first = asked(sidecar, call)
        assert (asked(sidecar, call), len(ann.all()), ann.pending().asked_times) == (first, 1, 2)
        ann.approve(first or "")
        assert asked(sidecar, call) is None
        ann.reaches(first or "", "consumed")
        second = asked(sidecar, call)
        assert second not in (None, first)
        assert len(sidecar.received) == 1


def test_a_call_that_a_person_refuses_stays_refused_with_the_reason(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        asked(sidecar, {"name": "sell"})
        ann = Approver(sidecar.state)
        ann.deny(ann.pending().id, "not today")
        reply = sidecar.call("sell")
        assert (kind(reply), denied(reply)) == ("approval_denied", "A person refused this call: not today")
        assert sidecar.received == []


APPROVED = '{"name":"sell","arguments":{"n":1,"to":{"a":"b","c":[1,2]}},"_meta":{"k":"v"}}'


@pytest.mark.parametrize(
    "same",
    [
        '{"_meta":{"k":"v"},"arguments":{"to":{"c":[1,2],"a":"b"},"n":1},"name":"sell"}',
        '{"name":"s\\u0065ll","arguments":{"n":1,"to":{"a":"\\u0062","c":[ 1, 2 ]}},"_meta":{"k":"v"}}',
        APPROVED.replace('"k":"v"', '"k":"v","progressToken":7,"traceparent":"00-1-2-01","baggage":"a=b"'),
    ],
)
def test_the_same_call_written_otherwise_uses_the_approval(tmp_path: Path, same: str) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        id_ = asked(sidecar, APPROVED)
        Approver(sidecar.state).approve(id_ or "")
        assert asked(sidecar, same) is None
        assert len(sidecar.received) == 1


def test_whatever_else_the_server_would_see_is_asked_about_anew(tmp_path: Path) -> None:
    changes = [
        APPROVED.replace('"n":1', '"n":1.0'),
        APPROVED.replace('"n":1', '"n":2'),
        APPROVED.replace('"n":1', '"n":"1"'),
        APPROVED.replace("[1,2]", "[2,1]"),
        APPROVED.replace('"n":1', '"n":1,"m":null'),
        APPROVED.replace('"k":"v"', '"k":"w"'),
        APPROVED.replace('"k":"v"', '"k":"v","x/y":{"z":1}'),
        APPROVED.replace('"k":"v"', '"k":"v","progressToken":{"n":2}'),
        APPROVED.replace('"k":"v"', '"k":"v","baggage":{"n":2}'),
        APPROVED[:-1] + ',"task":{"ttl":60000}}',
        APPROVED[:-1] + ',"inputResponses":{"q":{"action":"accept"}}}',
        APPROVED[:-1] + ',"requestState":"s"}',
    ]
    with Sidecar(tmp_path, POLICY) as sidecar:
        id_ = asked(sidecar, APPROVED)
        Approver(sidecar.state).approve(id_ or "")
        others = [asked(sidecar, change) for change in changes]
        assert None not in others
        assert len({id_, *others}) == len(changes) + 1, "each is a call of its own"
        assert sidecar.received == []
        assert asked(sidecar, APPROVED) is None


def test_an_approval_of_another_session_does_not_count(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as one, Sidecar(tmp_path, POLICY) as other:
        first = asked(one, APPROVED)
        Approver(one.state).approve(first or "")
        assert asked(other, APPROVED) not in (None, first)
        assert asked(one, APPROVED) is None


def test_a_deny_that_came_after_the_approval_wins(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        id_ = asked(sidecar, APPROVED)
        Approver(sidecar.state).approve(id_ or "")
        (tmp_path / "policy.yaml").write_text(POLICY.replace("require_approval}", "deny, reason: No more}"))
        sidecar.wait_for_error("in force")
        assert denied(sidecar.call("sell", {"n": 1, "to": {"a": "b", "c": [1, 2]}})) == "No more"
        assert sidecar.received == []


def test_a_tool_that_is_defined_otherwise_meanwhile_is_asked_about_anew(tmp_path: Path) -> None:
    tools = tmp_path / "tools.json"

    def listed(description: str) -> None:
        tools.write_text(json.dumps({"tools": [{"name": "sell", "description": description, "inputSchema": {}}]}))
        sidecar.request("tools/list")

    with Sidecar(tmp_path, POLICY, stub=("--list", str(tools))) as sidecar:
        listed("Sells one")
        id_ = asked(sidecar, APPROVED)
        Approver(sidecar.state).approve(id_ or "")
        listed("Sells everything")
        assert asked(sidecar, APPROVED) not in (None, id_)
        assert sidecar.received == []


def test_a_call_of_which_nobody_knows_whether_it_ran_is_not_repeated_until_a_person_says_what_became_of_it(
    tmp_path: Path,
) -> None:
    call = {"name": "sell", "arguments": {"stub": "mute", "n": 1}}
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = asked(sidecar, call) or ""
        ann.approve(id_)
        mute = sidecar.post("tools/call", call)
        sidecar.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": mute}})
        ann.reaches(id_, "unknown")
        same = {"stub": "mute", "n": 1.0}
        assert kind(sidecar.call("sell", same)) == "outcome_unknown"
        assert len(sidecar.received) == 1
        ann.resolve(id_, "committed")
        assert sidecar.call("sell", same)["error"]["data"]["approval_id"] != id_


def test_a_rule_that_is_removed_leaves_a_call_of_which_nobody_knows_refused(tmp_path: Path) -> None:
    call = {"name": "sell", "arguments": {"stub": "mute", "n": 1}}
    calm = "tools: {sell: {rules: [{name: day, rate_limit: 9/day}]}}"
    with Sidecar(tmp_path, POLICY) as sidecar:
        ann = Approver(sidecar.state)
        id_ = asked(sidecar, call) or ""
        ann.approve(id_)
        mute = sidecar.post("tools/call", call)
        sidecar.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": mute}})
        ann.reaches(id_, "unknown")
        (tmp_path / "policy.yaml").write_text(calm)
        sidecar.wait_for_error("in force")
        assert kind(sidecar.call("sell", call["arguments"])) == "outcome_unknown"
        assert len(sidecar.received) == 1
    with Sidecar(tmp_path, calm) as sidecar:
        assert kind(sidecar.call("sell", call["arguments"])) == "outcome_unknown"
        assert denied(sidecar.call("sell", {"n": 2})) is None
        ann.resolve(id_, "failed")
        assert sidecar.post("tools/call", call)
        until(lambda: len(sidecar.received) == 3)
