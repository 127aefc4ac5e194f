"""The dashboards: what is committed is what the program writes, and every panel has what an on-call person needs."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from programs.dashboards.files import DASHBOARDS, FOLDER, text_of
from programs.dashboards.queries import Span, questions
from tests.support import ROOT

SPAN = Span(start=0.0, end=3600.0, step=15.0, scrape=15.0)
WHOLE: dict[str, dict[str, Any]] = {name: json.loads(text_of(name)) for name in DASHBOARDS}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}")
    for name, dashboard in WHOLE.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_is_committed_is_what_the_program_writes(name: str) -> None:
    assert (FOLDER / f"{name}.json").read_text(encoding="utf-8") == text_of(name), "run make dashboards"


def test_no_other_dashboard_is_committed() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(DASHBOARDS)


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit_and_what_nothing_means(panel: dict[str, Any]) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["description"].endswith((".", "`."))
    assert defaults["unit"]
    assert defaults["noValue"]
    assert defaults["thresholds"]["steps"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_rate_over_time_uses_the_interval_that_fits_the_scrapes(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        windows = set(re.findall(r"\b(?:rate|increase)\(.*?\[(.*?)\]", target["expr"]))
        assert windows <= {"$__range" if target["instant"] else "$__rate_interval"}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_stand_side_by_side_and_over_each_other_but_not_on_each_other(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in WHOLE[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + column, place["y"] + line) for column in range(place["w"]) for line in range(place["h"])}
        assert not taken & cells
        taken |= cells


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_of_every_query_is_one_of_the_dashboard(name: str) -> None:
    assert list(questions(WHOLE[name], SPAN))


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_is_found_by_the_others_and_links_to_audit_lines(name: str) -> None:
    dashboard = WHOLE[name]
    assert dashboard["uid"].startswith("mcp-policy-")
    assert set(dashboard["links"][0]["tags"]) <= set(dashboard["tags"])
    assert "${logs}" in json.dumps(dashboard["panels"]) or name == "health"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_metric_is_one_that_the_docs_explain(name: str) -> None:
    explained = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"mcp_policy_(\w+?)(?:_bucket|_count)?(?=[{)])", text_of(name)))
    assert named
    assert {metric for metric in named if f"`{metric}`" not in explained} == set()


def test_the_interval_of_a_rate_is_grafanas() -> None:
    assert Span(0, 3600, step=15, scrape=15).rate_interval == 60
    assert Span(0, 86400, step=120, scrape=15).rate_interval == 135


def test_a_variable_that_no_dashboard_has_is_an_error() -> None:
    dashboard = json.loads(text_of("health").replace("$server", "$sever"))
    with pytest.raises(ValueError, match=r"Health|health.*\$sever is not known"):
        list(questions(dashboard, SPAN))


def test_the_component_makes_a_config_map_of_each_dashboard_that_grafana_finds(tmp_path: Path) -> None:
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "components": [os.path.relpath(ROOT / "deploy" / "components" / "grafana", tmp_path.resolve())],
    }
    (tmp_path / "kustomization.yaml").write_text(json.dumps(kustomization))
    kustomize = ROOT / ".tools" / "bin" / "kustomize"
    assert kustomize.is_file(), "no .tools/bin/kustomize: run `make manifests`"
    built = subprocess.run(
        [kustomize, "build", tmp_path], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    found = list(yaml.safe_load_all(built))
    assert {name for each in found for name in each["data"]} == {f"{name}.json" for name in DASHBOARDS}
    for each in found:
        assert each["kind"] == "ConfigMap"
        assert each["metadata"]["labels"] == {"grafana_dashboard": "1"}
        for name, text in each["data"].items():
            assert json.loads(text) == WHOLE[name.removesuffix(".json")]
            # `kubectl apply` keeps a copy of the object in an annotation, which may have 256 KiB.
            assert len(text) < 200_000
