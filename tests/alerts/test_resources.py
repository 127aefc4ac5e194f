"""What a cluster with the Prometheus Operator gets: the resources are of the form that its own definitions ask for."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest
import yaml

from programs.prometheus_rule import RESOURCE, resource
from tests.alerts.test_alerts import GROUPS
from tests.support import ROOT

CRDS: Final = ROOT / ".tools" / "crds"
COMPONENT: Final = ROOT / "deploy" / "components" / "monitoring"

pytestmark = pytest.mark.observability


def schema(kind: str) -> dict[str, Any]:
    """The schema of a kind, closed: the API server refuses a field that is not declared where it validates strictly."""
    definition = yaml.safe_load((CRDS / f"{kind}s.yaml").read_text(encoding="utf-8"))
    version = definition["spec"]["versions"][0]
    assert version["name"] == "v1"
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    _close(found)
    found["properties"]["metadata"] = {"type": "object"}
    return found


def _close(part: Any) -> None:
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part:
            part.setdefault("additionalProperties", False)
        if part.pop("x-kubernetes-int-or-string", False):
            part.pop("anyOf", None)
            part["type"] = ["integer", "string"]
        if (pattern := part.get("pattern", "")) and isinstance(pattern, str):
            part["pattern"] = pattern.replace("^(?i)", "(?i)^")  # where Python wants a flag
        for inner in part.values():
            _close(inner)
    if isinstance(part, list):
        for inner in part:
            _close(inner)


def built(folder: Path) -> dict[str, dict[str, Any]]:
    """The resources of the base with the component, by kind, as kustomize builds them."""
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "apiVersion": "kustomize.config.k8s.io/v1beta1",
                "kind": "Kustomization",
                "resources": ["../base"],
                "components": ["../components/monitoring"],
            }
        ),
        encoding="utf-8",
    )
    text = subprocess.run(
        [ROOT / ".tools" / "bin" / "kustomize", "build", folder], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@pytest.fixture
def resources(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The resources, built in a copy of the folder: kustomize reads nothing above the folder that it begins in."""
    subprocess.run(["cp", "-r", ROOT / "deploy", tmp_path], check=True, timeout=60)
    for name in ("authz/authz.rego", "log/mask.rego"):
        source = ROOT / "rego" / "system" / name
        (tmp_path / "deploy" / "base" / source.name).write_bytes(source.read_bytes())
    folder = tmp_path / "deploy" / "monitored"
    folder.mkdir()
    return built(folder)


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_a_resource_has_the_form_that_the_operator_asks_for(kind: str, resources: dict[str, dict[str, Any]]) -> None:
    jsonschema.validate(resources[kind], schema(kind.lower()))


def test_a_field_that_is_not_declared_is_noticed(resources: dict[str, dict[str, Any]]) -> None:
    resources["PodMonitor"]["spec"]["podMetricsEndpoints"][0]["intervall"] = "15s"
    with pytest.raises(jsonschema.ValidationError, match="intervall"):
        jsonschema.validate(resources["PodMonitor"], schema("podmonitor"))


def test_the_pods_that_are_scraped_are_those_of_the_base(resources: dict[str, dict[str, Any]]) -> None:
    monitor = resources["PodMonitor"]["spec"]
    template = resources["Deployment"]["spec"]["template"]
    wanted = monitor["selector"]["matchLabels"]
    assert wanted.items() <= template["metadata"]["labels"].items()
    containers = [*template["spec"]["containers"], *template["spec"].get("initContainers", [])]
    ports = [port["name"] for container in containers for port in container.get("ports", [])]
    assert [one["port"] for one in monitor["podMetricsEndpoints"]] == [port for port in ports if port == "telemetry"]


def test_the_rules_are_those_of_the_rules_file(resources: dict[str, dict[str, Any]]) -> None:
    assert RESOURCE.read_text(encoding="utf-8") == resource(), "run make rules"
    assert resources["PrometheusRule"]["spec"]["groups"] == GROUPS
