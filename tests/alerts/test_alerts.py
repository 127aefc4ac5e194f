"""The alerts and recording rules: when each fires and when it does not, by Prometheus' own tester of rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from tests.alerts.cases import CASES, WHERE, Case
from tests.support import ROOT
from tests.support.prometheus import LINES, program

RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERTS: Final = {rule["alert"]: rule for group in GROUPS for rule in group["rules"] if "alert" in rule}
RUNBOOKS: Final = ROOT / "docs" / "runbooks"

pytestmark = pytest.mark.observability


def promtool(line: str, *arguments: str | Path) -> str:
    """What the tester of this line prints. Fails with that unless it ends with 0."""
    done = subprocess.run(
        [program("promtool", line), *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def series(values: dict[str, str]) -> list[dict[str, str]]:
    """Series as promtool reads them, with the labels that all of them have."""
    everywhere = ",".join(f'{name}="{value}"' for name, value in WHERE.items())
    found = []
    for name, value in values.items():
        metric, _, labels = name.partition("{")
        inside = f"{everywhere},{labels[:-1]}" if labels else everywhere
        found.append({"series": f"mcp_policy_{metric}{{{inside}}}", "values": value})
    return found


def expected(case: Case) -> dict[str, Any]:
    """What the alert says where it fires."""
    annotations = ALERTS[case.alert]["annotations"]
    return {
        "exp_labels": {**WHERE, **case.labels, "severity": case.severity},
        "exp_annotations": {**annotations, "summary": case.summary, "description": described(case)},
    }


def described(case: Case) -> str:
    """The description, with the labels of the alert in it."""
    labels = {**WHERE, **case.labels}
    text = str(ALERTS[case.alert]["annotations"]["description"])
    return re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)


def written(case: Case, values: dict[str, str], alerts: list[dict[str, Any]], folder: Path) -> Path:
    """A file with one test of the alert."""
    test = {"eval_time": f"{case.minute}m", "alertname": case.alert, "exp_alerts": alerts}
    file = folder / "test.yaml"
    whole = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "30s",
        "tests": [{"interval": "30s", "input_series": series(values), "alert_rule_test": [test]}],
    }
    file.write_text(yaml.safe_dump(whole, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return file


def test_every_alert_has_its_tests() -> None:
    assert [case.alert for case in CASES] == list(ALERTS)
    assert all(case.quiet for case in CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
@pytest.mark.parametrize("line", LINES)
def test_an_alert_fires_when_it_should_and_says_what_is_wrong(case: Case, line: str, tmp_path: Path) -> None:
    promtool(line, "test", "rules", written(case, case.fires, [expected(case)], tmp_path))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
@pytest.mark.parametrize("line", LINES)
def test_an_alert_is_quiet_otherwise(case: Case, line: str, tmp_path: Path) -> None:
    for values in case.quiet:
        promtool(line, "test", "rules", written(case, values, [], tmp_path))


@pytest.mark.parametrize("line", LINES)
def test_the_linter_has_nothing_to_say(line: str) -> None:
    said = promtool(line, "check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert f"{sum(len(group['rules']) for group in GROUPS)} rules found" in said
