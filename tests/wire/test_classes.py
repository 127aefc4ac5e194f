"""Risk classes and `list: callable` through the real proxy: what is refused, counted, listed and told."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.support import SIDECAR
from tests.support.peer import TELEMETRY, Sidecar, denied

POLICY = """
default: deny
list: callable
classes:
  Financial: {rules: [{action: deny, reason: Requires human approval}]}
  Destructive: {rules: [{action: require_approval}]}
  Write: {rules: [{rate_limit: 1/day}]}
tools:
  pay: {class: Financial}
  drop: {class: Destructive}
  "set_*": {class: Write}
  set_free: {class: Write, rules: []}
"""
TOOLS = ("--tools", "pay,drop,set_a,set_b,set_free,other")


def listed(sidecar: Sidecar) -> list[str]:
    return [tool["name"] for tool in sidecar.request("tools/list")["result"]["tools"]]


def test_a_list_has_what_could_be_called_and_nothing_else(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, stub=TOOLS) as sidecar:
        assert listed(sidecar) == ["drop", "set_a", "set_b", "set_free"]
        assert denied(sidecar.call("pay")) == "Requires human approval"
        assert denied(sidecar.call("other")) == 'Tool "other" is not permitted by policy'


def test_in_monitor_mode_the_list_is_whole(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, "--mode", "monitor", stub=TOOLS) as sidecar:
        assert listed(sidecar) == ["pay", "drop", "set_a", "set_b", "set_free", "other"]


def test_each_tool_of_a_pattern_has_the_limit_of_its_class_to_itself(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, stub=TOOLS) as sidecar:
        passed = [
            denied(sidecar.call(tool)) is None for tool in ("set_a", "set_a", "set_b", "set_b", "set_free", "set_free")
        ]
        assert passed == [True, False, True, False, True, True]


def test_class_and_severity_are_told(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, *TELEMETRY, stub=TOOLS) as sidecar:
        data = sidecar.call("drop")["error"]["data"]
        assert (data["class"], data["severity"]) == ("Destructive", "critical")
        for tool in ("pay", "set_a", "other"):
            sidecar.call(tool)
        told = [(line.get("class"), line.get("severity")) for line in sidecar.audit]
        assert told == [
            ("Destructive", "critical"),  # a person is asked
            ("Destructive", "critical"), ("Financial", "critical"), ("Write", "medium"), (None, None),
        ]  # fmt: skip
        assert sidecar.metric("rule_info", tool="pay", **{"class": "Financial", "severity": "critical"}) == 1


def test_a_client_is_told_to_list_the_tools_again_when_others_can_be_called(tmp_path: Path) -> None:
    with Sidecar(tmp_path, POLICY, stub=(*TOOLS, "--announce")) as sidecar:
        sidecar.initialize()
        (tmp_path / "policy.yaml").write_text(POLICY.replace("action: deny, reason", "rate_limit: 5/day, reason"))
        sidecar.wait_for_error("in force")
        assert sidecar.until_ping() == [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}]
        assert listed(sidecar) == ["pay", "drop", "set_a", "set_b", "set_free"]


COUNTING = """
classes:
  Execute:
    rules:
      - state: {counter: runs, window: day}
      - {conditions: [{path: state._class.runs, op: lt, value: 1}], reason: Once a day}
tools: {"run_*": {class: Execute}, run: {class: Execute}}
"""


def test_each_tool_is_judged_by_what_it_counted_itself_and_explained_so(tmp_path: Path) -> None:
    with Sidecar(tmp_path, COUNTING, "--server", "s") as sidecar:
        for tool in ("run_a", "run_b", "run"):
            assert [denied(sidecar.call(tool)) for _ in range(2)] == [None, "Once a day"]
        for tool, decision, stands in (("run_a", "deny", 1), ("run", "deny", 1), ("run_c", "allow", 0)):
            words = ["explain", tool, "-c", "policy.yaml", "--server", "s", "--state-dir", str(sidecar.state)]
            said = subprocess.run([SIDECAR, *words], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
            assert said.startswith(f"{decision}: ")
            assert f"the counter stands at {stands}; " in said
