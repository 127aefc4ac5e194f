"""Calls that a person has to agree to first: answered with an error that says so, and never forwarded."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.peer import TELEMETRY, Sidecar, denied

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
        assert (error["code"], error["message"]) == (-32003, "[INTERCEPT APPROVAL REQUIRED] Ask the desk")
        (line,) = sidecar.audit
        assert error["data"] == {
            "id": line["decision_id"], "rule": "large", "kind": "approval_required", "revision": line["revision"],
            "timeout_seconds": 600,
        }  # fmt: skip
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
