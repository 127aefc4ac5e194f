"""The documentation about Kubernetes: the commands that it begins with, and the files and names that it speaks of."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT
from tests.support.peer import SECONDS

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
COMMANDS = [line for line in TEXT.partition("```sh\n")[2].partition("```")[0].splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_at_the_beginning_works(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=8 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_file_that_is_named_is_there() -> None:
    named = {
        *re.findall(r"\]\((\.\./[^)]+)\)", TEXT),
        *(f"../{path}" for path in re.findall(r"deploy/[\w./-]+\w", TEXT)),
    }
    assert len(named) > 3
    assert [path for path in named if not (ROOT / "docs" / path).exists() and ".yaml" in path] == []
    assert all((ROOT / "deploy" / name).is_dir() for name in re.findall(r"`(overlays/[\w-]+)`", TEXT))


def test_an_overlay_that_takes_its_policy_from_a_registry_is_built_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```yaml\n# team/kustomization.yaml\n(.*?)^```$", TEXT, re.M | re.S)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "kustomization.yaml").write_text(example)
    built = subprocess.run(
        [ROOT / ".tools" / "bin" / "kustomize", "build", tmp_path / "team"],
        capture_output=True, text=True, timeout=4 * SECONDS, check=True,
    )  # fmt: skip
    (deployment,) = [item for item in yaml.safe_load_all(built.stdout) if item["kind"] == "Deployment"]
    containers = deployment["spec"]["template"]["spec"]["initContainers"]
    assert [container["name"] for container in containers] == ["token", "opa", "sidecar"]
    env = {item["name"]: item.get("value") for item in containers[-1]["env"]}
    assert env["SIDECAR_BUNDLE"] == "oci://registry.example.com/team/mcp-policy:latest"
    assert "SIDECAR_CONFIG" not in env
