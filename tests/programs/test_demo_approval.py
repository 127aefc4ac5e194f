"""The demo of approvals: its judgement of what it saw, and a whole run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mcp import MCPError
from mcp_types import CallToolResult, TextContent

from programs.demo import report
from programs.demo.exchange import CANCEL_ORDER, Received
from programs.demo_approval.__main__ import LONGEST, POLICY, asked, judged, without_hold
from programs.demo_approval.story import FIRST, SECOND, STORY, Outcome, Seen, differences
from sidecar.enforce.denial import DECISION_META
from tests.programs.test_demo import processes_of
from tests.support import ROOT
from tests.support.peer import until
from tests.support.signals import with_default_signals

ONE, OTHER = (Received("POST", CANCEL_ORDER, order) for order in (FIRST, SECOND))


def as_it_must_be() -> Outcome:
    """What a demo sees in which nothing is wrong."""
    calls = (
        Seen(step.verdict, "said", f"apr_{number}" if step.verdict == "asks a person" else "")
        for number, step in enumerate(STORY)
    )
    return Outcome(tuple(calls), (ONE, OTHER))


def test_nothing_differs_when_all_is_as_it_must_be() -> None:
    assert differences(as_it_must_be()) == []


def test_a_cancel_that_came_twice_or_another_one_or_none_is_told() -> None:
    for received in ((ONE, ONE, OTHER), (ONE, replace(ONE, body=FIRST | {"ordId": "1"})), (OTHER, ONE), (ONE,), ()):
        said = f"the exchange received {len(received)} cancels, not exactly the two that were approved, once each"
        assert differences(replace(as_it_must_be(), received=received)) == [said]


def test_calls_that_became_something_else_are_told() -> None:
    good = as_it_must_be()
    *calls, last = good.calls
    assert differences(replace(good, calls=(*calls, replace(last, verdict="refused")))) == [
        "call 8, cancel_order: refused (said); it must be: allowed"
    ]
    assert differences(replace(good, calls=tuple(calls))) == ["7 calls were made, not the 8 of the story"]


def test_a_yes_for_one_call_that_serves_another_is_told() -> None:
    good = as_it_must_be()
    calls = tuple(replace(seen, approval="apr_1" if seen.approval else "") for seen in good.calls)
    assert differences(replace(good, calls=calls)) == ["two different questions have one approval"]


def test_an_error_that_asks_for_nobody_is_a_failure() -> None:
    assert asked(MCPError(-32603, "broken")) == Seen("failed", "error -32603: broken")
    needed = MCPError(-32003, "[INTERCEPT APPROVAL REQUIRED] why", {"approval_id": "apr_1", "id": "1-2"})
    assert asked(needed) == Seen("asks a person", "[INTERCEPT APPROVAL REQUIRED] why", "apr_1", "1-2")


def test_a_result_is_data_a_refusal_or_a_failure() -> None:
    step = STORY[0]
    text = TextContent(type="text", text="[INTERCEPT POLICY DENIED] no")
    denied = CallToolResult(content=[text], is_error=True, _meta={DECISION_META: {"id": "1-2"}})
    assert judged(step, denied) == Seen("refused", "[INTERCEPT POLICY DENIED] no", decision="1-2")
    unwilling = CallToolResult(content=[], structured_content={"code": "51603", "msg": "no such order", "data": []})
    assert judged(step, unwilling) == Seen("failed", "no such order")
    data = CallToolResult(content=[], structured_content={"code": "0", "msg": "", "data": [{"ordId": "7"}]})
    assert judged(step, data) == Seen("allowed", "order 7")


def test_without_hold_every_line_of_the_policy_stays_where_it_is(tmp_path: Path) -> None:
    shipped, copy = (path.read_text(encoding="utf-8") for path in (POLICY, without_hold(tmp_path)))
    changed = [(old, new) for old, new in zip(shipped.splitlines(), copy.splitlines(), strict=True) if old != new]
    assert [(old.split()[0], new.split()[:2]) for old, new in changed] == [("hold:", ["#", "hold:"])]


def start(home: Path) -> subprocess.Popen[str]:
    """Start the demo as `make demo-approval` does; whatever it starts has `home` in its environment."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    command = with_default_signals([sys.executable, "-m", "programs.demo_approval"])
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


@pytest.mark.slow
def test_an_approved_call_reaches_the_exchange_once(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        output, _ = demo.communicate(timeout=110)
    assert demo.returncode == 0, output
    lines = output.splitlines()
    verdicts = "allowed|asks a person|refused|waits"
    assert re.findall(rf"^({verdicts}) +(?:place|cancel)_order  ", output, re.MULTILINE) == [
        "allowed", "asks a person", "asks a person", "allowed", "asks a person", "refused",
        "allowed", "waits", "allowed",
    ]  # fmt: skip
    decided = re.findall(r"^  policies/okx-approval\.yaml, line (\d+):$", output, re.MULTILINE)
    policy = POLICY.read_text(encoding="utf-8").splitlines()
    assert [policy[int(line) - 1].strip() for line in decided] == ["- name: every cancel"]
    assert "    [INTERCEPT APPROVAL REQUIRED] Requires human approval" in lines
    assert "    [INTERCEPT POLICY DENIED] A person refused this call: cancelled already" in lines
    approved = re.findall(r"^  Approved: cancel_order on mcp-okx \((apr_[0-9a-f]{20})\)\.$", output, re.MULTILINE)
    assert len(set(approved)) == 2
    assert '      ordId   "2893481716224000001"' in lines
    assert "As it must be: each approved call arrived once, and no other did." in lines
    assert max(map(len, lines)) <= report.WIDTH
    assert "\x1b" not in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")


@pytest.mark.slow
def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    with start(tmp_path) as demo:
        until(lambda: len(processes_of(tmp_path)) > 2, LONGEST, "the sidecar's start")
        demo.send_signal(signal.SIGINT)
        output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 130, output
    assert "Stopped." in output
    until(lambda: not processes_of(tmp_path), what="the end of all that it started")
    assert list(tmp_path.glob("sidecar-demo-*")) == []
