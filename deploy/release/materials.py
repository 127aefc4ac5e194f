"""What a release is made from, as in-toto describes resources, and the versions of the tools that made it."""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.release.commands import run
from deploy.release.folder import digest
from deploy.release.names import of_wheel
from deploy.release.refused import Refused

Json = dict[str, Any]

_SBOM: Final = ".dist-info/sboms/intercept-sidecar.cdx.json"
_OPA: Final = "sidecar/bin/opa"
_BUILT_FROM: Final = re.compile(rb"\tgithub\.com/open-policy-agent/opa\t(v[0-9.]+)\th1:([A-Za-z0-9+/]{43}=)")
"""The main module, as Go writes it into what it builds: its version, and the hash of its files."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a wheel carries: its SBOM, the versions of OPA and of the Go that built it, and the hash of OPA's module.

    `sha256` is OPA's own.
    """

    sbom: bytes
    sha256: str
    opa: str
    module_hash: str
    go: str


def carried(wheel: Path) -> Carried:
    """What is in a wheel. Raises `Refused` where OPA or the SBOM is missing, or where they do not agree."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name == _OPA or name.endswith(_SBOM)]
        if len(names) != 2:
            raise Refused(f"{wheel.name} carries no OPA with an SBOM: build it with deploy/wheel/build")
        opa, sbom = (archive.read(name) for name in sorted(names, key=lambda name: name != _OPA))
    versions = {item["name"]: item["version"] for item in json.loads(sbom)["components"]}
    built_from = _BUILT_FROM.search(opa)
    if built_from is None or built_from[1].decode() != versions["github.com/open-policy-agent/opa"]:
        raise Refused(f"{wheel.name} carries another OPA than its SBOM says")
    return Carried(
        sbom,
        hashlib.sha256(opa).hexdigest(),
        built_from[1].decode(),
        base64.b64decode(built_from[2]).hex(),
        versions["stdlib"],
    )


def check_opa(root: Path, wheels: Mapping[Path, Carried]) -> None:
    """Raise `Refused` where a wheel carries another OPA than the one whose sum is known for its Go and architecture.

    Git does not look at what is built in .tools, and the version that a binary says it has is not proof of anything.
    """
    known = (root / ".ci" / "opa-sums.txt").read_text(encoding="utf-8")
    for path, inside in wheels.items():
        key = f"{inside.opa.removeprefix('v')}-{of_wheel(path.name)}-go{inside.go.removeprefix('go').removeprefix('v')}"
        wanted = re.findall(rf"^(\w{{64}}) {re.escape(key)}$", known, re.MULTILINE)
        if wanted and wanted != [inside.sha256]:
            raise Refused(
                f"{path.name} carries another OPA than .ci/opa-sums.txt knows: remove .tools, and build again"
            )


def of_packages(root: Path, wheels: Iterable[Carried]) -> tuple[Json, ...]:
    """What the packages are made from: the pinned requirements, OPA and Go."""
    found = {(wheel.opa, wheel.module_hash, wheel.go) for wheel in wheels}
    if len(found) != 1:
        raise Refused("the wheels carry different versions of OPA, or were built with different versions of Go")
    ((opa, module_hash, go),) = found
    return (
        *_files(root, sorted(str(path.relative_to(root)) for path in (root / ".ci").glob("*.txt"))),
        {"uri": f"pkg:golang/github.com/open-policy-agent/opa@{opa}", "digest": {"dirHash": module_hash}},
        {"uri": f"pkg:golang/stdlib@{go}"},
    )


def of_image(root: Path, base: str, wheel: Path) -> tuple[Json, ...]:
    """What an image is made from: the base that podman has under this name, the wheel, and what pip installed."""
    found = run([root / "deploy" / "podman", "image", "inspect", "--format", "{{.Digest}}", base], root).strip()
    return (
        {"name": base, "digest": {"sha256": found.removeprefix("sha256:")}},
        {"name": wheel.name, "digest": {"sha256": digest(wheel)}},
        *_files(root, ["deploy/Containerfile", "deploy/requirements.txt"]),
    )


def tools(root: Path, *, podman: bool = False) -> Mapping[str, str]:
    """The versions on which the bytes depend, beside what is pinned."""
    found = {"python": platform.python_version(), "zlib": zlib.ZLIB_RUNTIME_VERSION}
    if podman:
        found["podman"] = run([root / "deploy" / "podman", "--version"], root).split()[-1]
    return found


def _files(root: Path, paths: Iterable[str]) -> list[Json]:
    return [{"name": path, "digest": {"sha256": digest(root / path)}} for path in paths]
