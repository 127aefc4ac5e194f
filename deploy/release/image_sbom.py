"""The SBOM (CycloneDX) of the image: what the wheel's says, held against what is installed, and what the base brings.

The base is asked itself: Debian's packages, and the Python that runs. On what the packages of the base depend, the
document says nothing, so that is unknown to its readers, as CycloneDX has it.
"""

from __future__ import annotations

import json
import re
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
    _must_agree(document, found["installed"], reference)
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


def _must_agree(document: Json, installed: list[list[str]], reference: str) -> None:
    """The Python packages of the SBOM are those in the image, each in its version."""
    root = document["metadata"]["component"]
    named = [root, *(item for item in document["components"] if item.get("purl", "").startswith("pkg:pypi/"))]
    said = {(_plain(item["name"]), item["version"]) for item in named}
    there = {(_plain(name), version) for name, version in installed}
    if said != there:
        differ = ", ".join(sorted(" ".join(item) for item in said ^ there))
        raise Refused(f"{reference} holds other Python packages than the SBOM of its wheel says: {differ}")


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
