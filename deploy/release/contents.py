"""Whether a package holds the files of a commit, as that commit has them, and nothing else.

A clean tree does not say so. What packs a package knows less of git than git does: it packs a file that only
`.git/info/exclude` names, which may be the key that signs, and one that git was told not to look at.
"""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from deploy.release.refused import Refused
from deploy.release.source import Source, git

_PLACES: Final = {
    "sidecar/_rego/": "rego/",
    "sidecar/_policies/": "policies/",
    "sidecar/_schema/policy.schema.json": "docs/policy.schema.json",
}
"""What in a wheel begins like this is elsewhere in the commit: see pyproject.toml."""
_OF_WHEELS: Final = ("sidecar/", "rego/", "policies/", "docs/policy.schema.json", "LICENSE")
"""What begins like this in the commit belongs into a wheel."""
_MADE_IN_SDIST: Final = frozenset({"PKG-INFO"})
_MADE_IN_WHEEL: Final = frozenset({
    "sidecar/bin/opa", "sidecar/bin/opa-licenses.txt", "METADATA", "WHEEL", "RECORD", "entry_points.txt",
    "sboms/intercept-sidecar.cdx.json",
})  # fmt: skip


def check(root: Path, source: Source, packages: Iterable[Path]) -> None:
    """Raise `Refused`, which names the first file, unless wheels and sdist hold just what the commit has for them."""
    committed = _committed(root, source)
    for package in packages:
        if package.suffix == ".whl":
            _compare(package.name, _in_wheel(package, source), _for_wheels(committed), _MADE_IN_WHEEL)
        else:
            _compare(package.name, _in_sdist(package, source), committed, _MADE_IN_SDIST)


def _compare(
    package: str, found: Iterator[tuple[str, bytes]], committed: Mapping[str, str], made: frozenset[str]
) -> None:  # fmt: skip
    missing = set(committed)
    for path, data in found:
        if path in made and path not in committed:
            continue
        if path not in committed:
            raise Refused(f"{package} holds {path}, and the commit does not: move it out of the checkout, build again")
        if _blob(data, len(committed[path])) != committed[path]:
            raise Refused(f"{package} holds another {path} than the commit: `git ls-files -v` may say why")
        missing.discard(path)
    if missing:
        raise Refused(f"{package} does not hold {min(missing)}, and the commit does: build again from a new clone")


def _committed(root: Path, source: Source) -> dict[str, str]:
    """The files of a commit, and the name that git has for what is in each."""
    listed = git(root, "ls-tree", "-r", "-z", "--full-tree", source.commit)
    return {path: meta.split()[2] for meta, _, path in (line.partition("\t") for line in listed.split("\0") if line)}


def _for_wheels(committed: Mapping[str, str]) -> dict[str, str]:
    return {path: blob for path, blob in committed.items() if path.startswith(_OF_WHEELS)}


def _blob(data: bytes, length: int) -> str:
    """Git's name for what is in a file, in as many digits as others have: SHA-1, or SHA-256."""
    kind = "sha1" if length == 40 else "sha256"
    return hashlib.new(kind, b"blob %d\0" % len(data) + data, usedforsecurity=kind != "sha1").hexdigest()


def _in_sdist(package: Path, source: Source) -> Iterator[tuple[str, bytes]]:
    top = f"intercept_sidecar-{source.version}"
    with tarfile.open(package, "r:gz") as tar:
        for member in tar:
            path = PurePosixPath(member.name)
            file = tar.extractfile(member) if member.isfile() else None
            if file is None or path.parts[0] != top:
                raise Refused(f"{package.name} holds {member.name}, which is no file of the commit")
            yield str(path.relative_to(top)), file.read()


def _in_wheel(package: Path, source: Source) -> Iterator[tuple[str, bytes]]:
    information = f"intercept_sidecar-{source.version}.dist-info/"
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            path = name.removeprefix(information).removeprefix("licenses/") if name.startswith(information) else name
            for start, there in _PLACES.items():
                if path.startswith(start):
                    path = there + path.removeprefix(start)
            yield path, archive.read(name)
