"""A real OPA that answers a canary wrongly: whatever it says of calls and lists, none passes until both are right."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.opa_tap import OpaTap
from tests.support.peer import TELEMETRY, Sidecar, kind, until

POLICY = "hide: [secret]\ntools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 100}], reason: Too much}]}}\n"
WRONG = "the canary that must get deny got another answer"
TOGETHER = 40


def started(folder: Path, tap: OpaTap) -> Sidecar:
    """A sidecar in front of a server with two tools, of which one is hidden."""
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("t", "secret")]
    (folder / "list.json").write_text(json.dumps({"tools": tools}))
    return Sidecar(folder, POLICY, *tap.options, *TELEMETRY, stub=("--list", str(folder / "list.json")))


def nothing_passes(sidecar: Sidecar) -> None:
    """No call and no list, one by one and together, known before and new."""
    before = len(sidecar.received)
    assert [kind(sidecar.call("t", {"a": number})) for number in (1, 1, 2, 100)] == ["engine_unavailable"] * 4
    ids = {sidecar.post("tools/call", {"name": "t", "arguments": {"a": number}}) for number in range(TOGETHER)}
    replies = [sidecar.read() for _ in ids]
    assert {reply["id"] for reply in replies} == ids
    assert {kind(reply) for reply in replies} == {"engine_unavailable"}
    assert "error" in sidecar.request("tools/list")
    assert len(sidecar.received) == before
    assert sidecar.readiness()[0] == 503


def passes_once_it_is_right(sidecar: Sidecar, tap: OpaTap) -> None:
    """Nothing passes an OPA that answers a canary wrongly now, and everything does when it answers rightly."""
    sidecar.wait_for_error(f"{WRONG}; calls are denied until it answers again")
    assert sidecar.readiness() == (503, f"{WRONG}\n")
    nothing_passes(sidecar)
    tap.lies = False
    sidecar.wait_for_error("the policy engine answers again")
    assert kind(sidecar.call("t", {"a": 2})) is None
    assert kind(sidecar.call("t", {"a": 100})) == "rule"
    assert [tool["name"] for tool in sidecar.request("tools/list")["result"]["tools"]] == ["t"]
    assert sidecar.readiness() == (200, "ready\n")


def test_nothing_passes_an_opa_that_answers_a_canary_wrongly_from_the_start(tmp_path: Path, tap: OpaTap) -> None:
    tap.lies = True
    with started(tmp_path, tap) as sidecar:
        sidecar.initialize()
        passes_once_it_is_right(sidecar, tap)


def test_nothing_passes_an_opa_that_begins_to_answer_a_canary_wrongly(tmp_path: Path, tap: OpaTap) -> None:
    with started(tmp_path, tap) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        tap.lies = True
        passes_once_it_is_right(sidecar, tap)


def test_a_changed_policy_does_not_come_into_force_through_a_wrong_canary(tmp_path: Path, tap: OpaTap) -> None:
    with started(tmp_path, tap) as sidecar:
        sidecar.initialize()
        until(lambda: kind(sidecar.call("t", {"a": 1})) is None)
        tap.lies = True
        sidecar.wait_for_error(f"{WRONG}; calls are denied until it answers again")
        beside = tmp_path / "next.yaml"
        beside.write_text(POLICY.replace("100", "1000"))
        beside.replace(tmp_path / "policy.yaml")
        sidecar.wait_for_error(f"by the new policy {WRONG}; the old one stays in force")
        nothing_passes(sidecar)
        tap.lies = False
        sidecar.wait_for_error("the changed policy is in force")
        assert kind(sidecar.call("t", {"a": 100})) is None
        assert kind(sidecar.call("t", {"a": 1000})) == "rule"
