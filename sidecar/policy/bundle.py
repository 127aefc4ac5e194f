"""A bundle: the compiled policy and the library that decides by it, as files, as an archive, as what we need of it.

The revision is a hash of the content; with the serial it stands in every answer of the engine.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = "intercept"
STAMP = f"{ROOT}/bundle/data.json"
FACTS = f"{ROOT}/facts/data.json"


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """What there is to say of a rule without judging: for metrics, explanations and refunds."""

    tool: str
    rule: str
    kind: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Terms:
    """What the sidecar itself needs to know of a policy; everything comes out of the bundle.

    `reads` holds, for each tool that has rules with conditions, the ways into its arguments; `reads_any` those that
    the rules under `*` add for every tool. `refunds` says for each counter when what a call took is given back:
    `on_error`, `on_failure` or `never`.
    """

    tools: frozenset[str]
    reads: dict[str, tuple[tuple[str, ...], ...]]
    reads_any: tuple[tuple[str, ...], ...]
    refunds: dict[str, str]
    rules: tuple[RuleInfo, ...]

    def reads_of(self, tool: str) -> tuple[tuple[str, ...], ...]:
        """Every way into the arguments of `tool` that a rule reads."""
        return self.reads.get(tool, self.reads_any)


@dataclass(frozen=True, slots=True)
class Bundle:
    """One policy, ready for the engine. `files` maps paths to text; all of them are in the revision but the stamp."""

    revision: str
    serial: int
    files: dict[str, str]
    terms: Terms


def build(compiled: dict[str, str], serial: int) -> Bundle:
    """The bundle of a compiled policy and our Rego library."""
    content = {**library(), **compiled}
    digest = hashlib.sha256()
    for path, text in sorted(content.items()):
        digest.update(f"{path}\0{len(text.encode())}\0{text}".encode())
    revision = digest.hexdigest()[:32]
    stamp = {"revision": revision, "serial": serial}
    manifest = {"revision": revision, "roots": [ROOT], "rego_version": 1, "metadata": {"serial": serial}}
    files = {".manifest": _json(manifest), STAMP: _json(stamp), **content}
    return Bundle(revision, serial, files, _terms(json.loads(content[FACTS])))


def archive(bundle: Bundle) -> bytes:
    """The bundle as OPA fetches it: a gzipped tar, the same bytes for the same bundle."""
    tar_bytes = io.BytesIO()
    with tarfile.open(fileobj=tar_bytes, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, text in sorted(bundle.files.items()):
            data = text.encode()
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(tar_bytes.getvalue(), compresslevel=1, mtime=0)


def write(files: dict[str, str], folder: Path) -> None:
    """Write the files of a bundle below a folder. Raises OSError."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def library() -> dict[str, str]:
    """The hand-written Rego that every bundle carries, without its tests."""
    folder = rego_folder() / ROOT
    return {
        f"{ROOT}/{path.relative_to(folder).as_posix()}": path.read_text()
        for path in sorted(folder.rglob("*.rego"))
        if not path.name.endswith("_test.rego")
    }


def rego_folder() -> Path:
    """Where our Rego is: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).parent.parent
    installed = package / "_rego"
    return installed if installed.is_dir() else package.parent / "rego"


def _terms(facts: dict[str, Any]) -> Terms:
    reads_any = _paths(facts["reads"]["any_tool"])
    entries = [*facts["tools"].items(), ("*", facts["any_tool"])]
    rules = [(tool, rule) for tool, rules in entries for rule in rules]
    return Terms(
        tools=frozenset(facts["tools"]),
        reads={tool: _paths([*paths, *reads_any]) for tool, paths in facts["reads"]["tools"].items()},
        reads_any=reads_any,
        refunds={rule["limit"]["counter"]: rule["refund"] for _, rule in rules if "limit" in rule},
        rules=tuple(RuleInfo(tool, rule["name"], rule["kind"], rule["file"], rule["line"]) for tool, rule in rules),
    )


def _paths(paths: list[list[str]] | list[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted({tuple(path) for path in paths}))


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
