"""The SBOM (CycloneDX) of the image: the wheel's, made to agree with what is installed, and what the base brings.

The image is asked itself: for Python packages, for Debian's, and for the Python that runs. On what the packages of the
base depend, the document says nothing, so that is unknown to its readers, as CycloneDX has it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from deploy.release.commands import run
from deploy.release.refused import Refused

Json = dict[str, Any]

_ASK: Final = """
import importlib.metadata, json, pathlib, platform, subprocess
found = [[item.metadata["Name"], item.version] for item in importlib.metadata.distributions()]
status = pathlib.Path("/var/lib/dpkg/status")
print(json.dumps({"python": platform.python_version(), "installed": found, "os": platform.freedesktop_os_release(),
                  "dpkg": status.read_text(encoding="utf-8") if status.is_file() else ""}))
"""


def of_image(root: Path, reference: str, of_wheel: bytes, digest: str) -> bytes:
    """The document of an image that podman has; `digest` is its manifest's.

    Raises `Refused` where something in the image would be missing from it.
    """
    words = ["run", "--rm", "--network", "none", "--read-only", "--user", "10001", "--cap-drop", "all"]
    python = ["--entrypoint", "/opt/sidecar/bin/python", reference, "-c", _ASK]
    found = json.loads(run([root / "deploy" / "podman", *words, *python], root, seconds=120))
    document = json.loads(of_wheel)
    wheel = document["metadata"]["component"]
    pins = (root / "deploy" / "requirements.txt").read_text(encoding="utf-8")
    agree(document, found["installed"], dict(re.findall(r"^([\w.-]+)==(\S+)", pins, re.MULTILINE)))
    base = [_python(found["python"]), *_debian(found["dpkg"], found["os"], reference)]
    document["components"] = [wheel, *document["components"], *base]
    ref = f"pkg:oci/intercept-sidecar@{quote(digest)}"
    document["metadata"]["component"] = {
        "type": "container", "bom-ref": ref, "name": "intercept-sidecar", "version": wheel["version"], "purl": ref,
        "hashes": [{"alg": "SHA-256", "content": digest.removeprefix("sha256:")}],
    }  # fmt: skip
    needed = [wheel["bom-ref"], *(item["bom-ref"] for item in base)]
    document["dependencies"].append({"ref": ref, "dependsOn": sorted(needed)})
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def agree(document: Json, installed: list[list[str]], pinned: Mapping[str, str]) -> None:
    """Make the Python packages of a document those that are `installed`: pairs of name and version.

    Some are needed by one version of Python and not by another, so the image's may differ from those of the environment
    that the document was made in. Raises `Refused` for another version, and for a package that is
    neither in the document nor `pinned`.
    """
    root = document["metadata"]["component"]
    named = [root, *(item for item in document["components"] if item.get("purl", "").startswith("pkg:pypi/"))]
    said = {_plain(item["name"]): item for item in named}
    there = {_plain(name): version for name, version in installed}
    known = {name: item["version"] for name, item in said.items()}
    known = {_plain(name): version for name, version in pinned.items()} | known
    if wrong := sorted(name for name, version in there.items() if known.get(name) != version):
        right = known.get(wrong[0], "no version of it")
        raise Refused(f"the image holds {wrong[0]} {there[wrong[0]]}, and {right} is what was asked for")
    if _plain(root["name"]) not in there:
        raise Refused(f"the image does not hold {root['name']}")
    gone = {item["bom-ref"] for name, item in said.items() if name not in there}
    document["components"] = [item for item in document["components"] if item["bom-ref"] not in gone]
    document["components"] += [_pypi(name, version) for name, version in sorted(there.items()) if name not in said]
    document["dependencies"] = [
        {**item, "dependsOn": [ref for ref in item.get("dependsOn", []) if ref not in gone]}
        for item in document["dependencies"] if item["ref"] not in gone
    ]  # fmt: skip


def _pypi(name: str, version: str) -> Json:
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _python(version: str) -> Json:
    purl = f"pkg:generic/python@{version}"
    return {"type": "application", "bom-ref": purl, "name": "python", "version": version, "purl": purl}


def _debian(status: str, system: dict[str, str], reference: str) -> list[Json]:
    """The packages that dpkg says are installed."""
    found = []
    for entry in status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", entry, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found.append(_package(fields, system))
    if not found:
        raise Refused(f"{reference} is not built on Debian, so nothing lists its packages: build with another BASE")
    return sorted(found, key=lambda item: str(item["bom-ref"]))


def _package(fields: dict[str, str], system: dict[str, str]) -> Json:
    name, version, architecture = fields["Package"], fields["Version"], fields["Architecture"]
    vendor = system.get("ID", "debian")
    distribution = f"{vendor}-{system.get('VERSION_ID', '')}".rstrip("-")
    purl = f"pkg:deb/{vendor}/{quote(name)}@{quote(version)}?arch={architecture}&distro={distribution}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
