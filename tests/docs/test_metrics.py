"""The page on metrics, and the alerts: each name and label is one that the sidecar exposes."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from tests.observe.metrics.test_metrics import EVERYTHING, families, metrics_after
from tests.support import ROOT

TEXT: Final = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
RULES: Final = ROOT / "deploy" / "prometheus" / "rules.yaml"
GROUPS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
ALERTS: Final = [rule for group in GROUPS for rule in group["rules"] if "alert" in rule]
RECORDED: Final = {rule["record"]: rule for group in GROUPS for rule in group["rules"] if "record" in rule}
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
SELECTOR: Final = re.compile(r"mcp_policy_(\w+)(?:\{(.*?)\})?")


def exposed() -> dict[str, dict[str, set[str]]]:
    """Every metric by its name without prefix, as one sees it in a query: its labels, and the values that they have."""
    found: dict[str, dict[str, set[str]]] = {}
    for family in families(metrics_after(*EVERYTHING)):
        for sample in family.samples:
            labels = found.setdefault(sample.name.removeprefix("mcp_policy_"), {})
            for label, value in sample.labels.items():
                labels.setdefault(label, set()).add(value)
    return found


def documented() -> dict[str, tuple[str, set[str]]]:
    """Every metric of the tables: its kind and its labels."""
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) \|", TEXT, re.MULTILINE)
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


def test_the_table_has_every_metric_with_its_kind_and_its_labels() -> None:
    table = documented()
    found = {}
    for family in families(metrics_after(*EVERYTHING)):
        name = family.name.removeprefix("mcp_policy_") + ("_total" if family.type == "counter" else "")
        labels = {label for sample in family.samples for label in sample.labels} - {"server", "le"}
        found[name] = (family.type, labels)
    assert table == found


def test_every_metric_says_in_a_sentence_what_it_is() -> None:
    for family in families(metrics_after(*EVERYTHING)):
        assert len(family.documentation.split()) >= 4, family.name


@pytest.mark.parametrize(("name", "query"), re.findall(r"^\| `(\w+)` \| .*\| `([^`]+)`[^|`]*\|$", TEXT, re.MULTILINE))
def test_every_metric_has_a_typical_query_of_what_is_exposed(name: str, query: str) -> None:
    metrics = exposed()
    assert name in query or (name.startswith("process_") and "process_" in query)
    for asked, matchers in SELECTOR.findall(query):
        assert asked in metrics
        for label, value in re.findall(r'(\w+)="(.*?)"', matchers):
            assert value in metrics[asked][label]
    for labels in re.findall(r"(?:by|on|group_left) \(([\w, ]+)\)", query):
        every = {label for asked, _ in SELECTOR.findall(query) for label in metrics[asked]}
        assert set(labels.split(", ")) <= every


def test_there_is_a_typical_query_for_every_metric() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (?:counter|gauge|histogram) \|.*\| `[^`]+`[^|`]*\|$", TEXT, re.MULTILINE)
    assert set(rows) == documented().keys()


@pytest.mark.parametrize(
    "rule", [*ALERTS, *RECORDED.values()], ids=lambda rule: str(rule.get("alert", rule.get("record")))
)
def test_a_rule_asks_for_what_is_exposed(rule: dict[str, Any]) -> None:
    metrics = exposed()
    selectors = SELECTOR.findall(rule["expr"])
    recorded = re.findall(r"mcp_policy:\w+:\w+", rule["expr"])
    assert selectors or recorded
    assert set(recorded) <= RECORDED.keys()
    for name, matchers in selectors:
        assert name in metrics
        for label, values in re.findall(r'(\w+)=~?"(.*?)"', matchers):
            assert label in metrics[name]
            # These come into being with the first decision of their kind.
            assert label in ("kind", "severity", "mode") or set(values.split("|")) <= metrics[name][label]


def test_every_alert_says_what_it_is_and_has_a_runbook() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert alert["annotations"].keys() == {"runbook", "summary", "description"}
        assert alert["annotations"]["runbook"] == f"docs/runbooks/{alert['alert']}.md"


def test_every_runbook_says_what_it_means_how_to_look_and_what_to_do() -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in RUNBOOKS.glob("Mcp*.md")}
    assert pages.keys() == {alert["alert"] for alert in ALERTS}
    for name, text in pages.items():
        assert re.findall(r"^#+ (.*)$", text, re.MULTILINE) == [name, "What it means", "How to look", "What to do"]
        for query in re.findall(r"mcp_policy_(\w+)", text):
            assert query in exposed(), f"{name}: {query}"


def test_the_list_of_runbooks_has_every_alert_with_its_severity() -> None:
    text = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| \[(Mcp\w+)\]\((\w+)\.md\) \| (\w+) \|", text, re.MULTILINE)
    assert rows == [(alert["alert"], alert["alert"], alert["labels"]["severity"]) for alert in ALERTS]
