"""The component that has spans sent: it is valid with every topology, and changes nothing but where spans go."""

from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.test_manifests import DEPLOY, KUSTOMIZE, OVERLAYS, VERSIONS, built
from tests.support import ROOT


def with_traces(name: str, folder: Path) -> list[dict[str, Any]]:
    """The resources of an overlay with the component, as kustomize builds them in a copy of the folder."""
    subprocess.run(["cp", "-rL", DEPLOY, folder], check=True, timeout=60)
    team = folder / "team"
    team.mkdir()
    (team / "kustomization.yaml").write_text(
        f"resources: [../deploy/{name}]\ncomponents: [../deploy/components/traces]\n"
    )
    done = subprocess.run([KUSTOMIZE, "build", team], capture_output=True, text=True, check=True, timeout=60)
    return list(yaml.safe_load_all(done.stdout))


@pytest.mark.parametrize("name", OVERLAYS)
def test_with_every_topology_only_the_place_of_spans_is_added(name: str, tmp_path: Path) -> None:
    found = with_traces(name, tmp_path)
    for version in VERSIONS:
        for resource in found:
            kubernetes_validate.validate(resource, version, strict=True)
    (policy,) = [one for one in found if one["metadata"]["name"] == "mcp-collector"]
    found.remove(policy)
    before = {(one["kind"], one["metadata"]["name"]): copy.deepcopy(one) for one in built(name)}
    for resource in found:
        if resource["kind"] == "Deployment":
            (sidecar,) = [
                one for one in resource["spec"]["template"]["spec"]["initContainers"] if one["name"] == "sidecar"
            ]
            added = {item["name"]: item for item in sidecar["env"] if "OT" in item["name"]}
            assert added.keys() == {"SIDECAR_OTLP", "OTEL_SERVICE_NAME", "OTEL_EXPORTER_OTLP_HEADERS"}
            port = added["SIDECAR_OTLP"]["value"].rpartition(":")[2]
            assert [rule["ports"] for rule in policy["spec"]["egress"]] == [[{"port": int(port)}]]
            sidecar["env"] = [item for item in sidecar["env"] if item["name"] not in added]
        if resource["kind"] != "ConfigMap":
            assert resource == before[resource["kind"], resource["metadata"]["name"]]
    assert len(found) == len(before)


def test_the_document_names_the_component() -> None:
    assert "components/traces" in (ROOT / "docs" / "tracing.md").read_text(encoding="utf-8")
