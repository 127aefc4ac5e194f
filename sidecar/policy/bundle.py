"""A bundle: the compiled policy and the Rego library that decides by it, as files.

The revision is a hash of what the policy became. The library is not part of it: a sidecar decides with the library that
it brings itself, whoever built the bundle. Every answer of the engine names the revision and the serial.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sidecar import __version__
from sidecar.policy.archive import MANIFEST
from sidecar.policy.terms import Terms, read_terms

ROOT = "intercept"
"""The path below which everything in a bundle stands."""
EVERY_PATH = ""
"""The root of a bundle that owns every path of OPA: OPA then lets nobody write anything."""
STAMP = f"{ROOT}/bundle/data.json"
FACTS = f"{ROOT}/facts/data.json"
POLICY = f"{ROOT}/policy/"
"""Where the generated modules stand."""
SOURCES = f"{ROOT}/sources/data.json"
"""The policy files that a bundle was built from, for people and for comparing; no sidecar reads them."""
FORMAT = 2
"""What the library expects of the compiled policy. It rises with every change that makes an older one unusable."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """One policy, ready for the engine. `files` maps paths to text; the revision is over those that `build` got.

    `commit` names the state of the repository that it was built from, empty where nobody said.
    """

    revision: str
    serial: int
    files: dict[str, str]
    terms: Terms
    commit: str = ""


def build(compiled: dict[str, str], serial: int, commit: str = "") -> Bundle:
    """The bundle of a compiled policy and our Rego library."""
    digest = hashlib.sha256(f"format {FORMAT}".encode())
    for path, text in sorted(compiled.items()):
        digest.update(f"{path}\0{len(text.encode())}\0{text}".encode())
    revision = digest.hexdigest()[:32]
    stamp = {"revision": revision, "serial": serial, "allow": _allow(revision, serial)}
    files = {MANIFEST: _manifest(revision, serial, commit), STAMP: _json(stamp), **library(), **compiled}
    return Bundle(revision, serial, files, read_terms(json.loads(compiled[FACTS])), commit)


def of_commit(bundle: Bundle, commit: str) -> Bundle:
    """The same bundle, which names another commit."""
    manifest = _manifest(bundle.revision, bundle.serial, commit)
    return replace(bundle, files={**bundle.files, MANIFEST: manifest}, commit=commit)


def _manifest(revision: str, serial: int, commit: str) -> str:
    metadata = {"serial": serial, "format": FORMAT, "sidecar": __version__} | ({"commit": commit} if commit else {})
    return _json({"revision": revision, "roots": [ROOT], "rego_version": 1, "metadata": metadata})


def _allow(revision: str, serial: int) -> dict[str, Any]:
    """The whole answer on a call that is proved to pass and takes nothing: as data it costs no time to make."""
    return {
        "version": 1,
        "action": "allow",
        "kind": "allow",
        "rule": "",
        "reason": "",
        "violations": [],
        "reserve": [],
        "approval": None,
        "revision": revision,
        "serial": serial,
    }


def rooted(files: dict[str, str], root: str) -> dict[str, str]:
    """The same files in a bundle that owns `root`. How OPA is run decides what a bundle has to own there."""
    return {**files, MANIFEST: _json({**json.loads(files[MANIFEST]), "roots": [root]})}


def write(files: dict[str, str], folder: Path) -> None:
    """Write the files of a bundle below a folder. Raises OSError."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def library() -> dict[str, str]:
    """The hand-written Rego that every bundle carries, without its tests."""
    folder = rego_folder() / ROOT
    return {
        f"{ROOT}/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*.rego"))
        if not path.name.endswith("_test.rego")
    }


def rego_folder() -> Path:
    """Where our Rego is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_rego"
    return installed if installed.is_dir() else package.parent / "rego"


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
