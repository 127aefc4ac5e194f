"""The page on metrics, and the alerts: each name and label is one that the sidecar exposes."""

from __future__ import annotations

import re
from typing import Any, Final

import pytest
import yaml

from tests.observe.metrics.test_metrics import EVERYTHING, families, metrics_after
from tests.support import ROOT

TEXT: Final = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
RULES: Final = ROOT / "deploy" / "prometheus" / "approvals.yaml"
ALERTS: Final[list[dict[str, Any]]] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"][0]["rules"]
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


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_what_is_exposed(alert: dict[str, Any]) -> None:
    metrics = exposed()
    selectors = SELECTOR.findall(alert["expr"])
    assert selectors
    for name, matchers in selectors:
        assert name in metrics
        for label, values in re.findall(r'(\w+)=~?"(.*?)"', matchers):
            assert label in metrics[name]
            # Kinds come into being with the first decision of their kind.
            assert label == "kind" or set(values.split("|")) <= metrics[name][label]


def test_the_table_of_alerts_has_every_alert() -> None:
    assert re.findall(r"^\| `(Mcp\w+)` \|", TEXT, re.MULTILINE) != []
    assert set(re.findall(r"^\| `(Mcp\w+)` \|", TEXT, re.MULTILINE)) == {alert["alert"] for alert in ALERTS}


def test_every_alert_says_what_it_is_and_what_to_do() -> None:
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("warning", "critical")
        assert alert["annotations"].keys() == {"summary", "description"}
