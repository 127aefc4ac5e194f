"""What an edit of the policy does to approvals: that of the very rule asks anew, any other one does not."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support import SIDECAR
from tests.support.peer import SECONDS, Sidecar, denied

RULE = "{name: ask, action: require_approval, reason: Ask the desk, grant: {for: 1h, calls: 9, same: [args.to]}}"
DENY = "      - {action: deny, conditions: [{path: args.x, op: eq, value: 1}]}\n"
POLICY = f"approvals: {{timeout: 1h}}\ntools:\n  pay:\n    rules:\n      - {RULE}\n"

OTHER_EDITS = {
    "moved": POLICY.replace("    rules:\n", f"    rules:\n{DENY}"),
    "times": POLICY.replace("timeout: 1h", "timeout: 2h, use_within: 1h, hold: 0, answer: result"),
    "elsewhere": POLICY + "  other: {rules: [{action: require_approval}]}\nhide: [secret]\n",
    "of a pattern": POLICY.replace("  pay:", '  "pa*":'),
    "of a class": f"classes:\n  Financial:\n    rules:\n      - {RULE}\ntools:\n  pay: {{class: Financial}}\n",
}  # fmt: skip
OWN_EDITS = {
    "reason": POLICY.replace("Ask the desk", "Ask the chief"),
    "name": POLICY.replace("name: ask", "name: asks"),
    "approvers": POLICY.replace("reason:", "approvers: 2, reason:"),
    "conditions": POLICY.replace("reason:", "conditions: [{path: args.to, op: eq, value: you}], reason:"),
    "grant": POLICY.replace("calls: 9", "calls: 8"),
    "another rule asks too": POLICY + "      - {action: require_approval, reason: me too}\n",
}


def approve(sidecar: Sidecar, arguments: dict[str, Any], *words: str) -> str:
    """Ask for a call and approve it: the id of the approval."""
    id_: str = sidecar.call("pay", arguments)["error"]["data"]["approval_id"]
    command = [str(SIDECAR), "approvals", "approve", id_, *words, "--state-dir", str(sidecar.state), "--json"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return id_


def change(sidecar: Sidecar, folder: Path, text: str) -> None:
    """Put another policy in force."""
    draft = folder / "draft"
    draft.write_text(text)
    draft.rename(folder / "policy.yaml")
    sidecar.wait_for_error("the changed policy is in force")


@pytest.mark.parametrize("after", OTHER_EDITS.values(), ids=OTHER_EDITS)
def test_any_other_edit_leaves_an_approval_and_a_standing_one_as_they_are(tmp_path: Path, after: str) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        approve(sidecar, {"to": "you"})
        approve(sidecar, {"to": "me"}, "--grant")
        change(sidecar, tmp_path, after)
        passed = [{"to": "you"}, {"to": "me"}, {"to": "me", "n": 2}]
        assert ["error" in sidecar.call("pay", arguments) for arguments in passed] == [False] * 3
        assert [json.loads(line)["params"]["arguments"] for line in sidecar.received if "pay" in line] == passed


@pytest.mark.parametrize("after", OWN_EDITS.values(), ids=OWN_EDITS)
def test_an_edit_of_the_very_rule_asks_anew(tmp_path: Path, after: str) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        once = approve(sidecar, {"to": "you"})
        standing = approve(sidecar, {"to": "you", "n": 1}, "--grant")
        change(sidecar, tmp_path, after)
        for arguments in ({"to": "you"}, {"to": "you", "n": 1}, {"to": "you", "n": 2}):
            assert sidecar.call("pay", arguments)["error"]["data"]["approval_id"] not in (once, standing)
        assert sidecar.received == []


def test_a_rule_that_refuses_meanwhile_wins(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        approve(sidecar, {"to": "you"})
        change(sidecar, tmp_path, POLICY + "      - {action: deny, reason: not today}\n")
        refusal = denied(sidecar.call("pay", {"to": "you"}))
        assert refusal is not None
        assert refusal.startswith("not today")
        assert sidecar.received == []
