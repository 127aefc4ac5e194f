"""The manifest of a bundle that came from somewhere, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.errors import BundleRefused
from sidecar.ledger.protocol import MAX_SERIAL
from sidecar.policy.archive import MANIFEST, strict
from sidecar.policy.bundle import FORMAT, ROOT
from sidecar.text import shown, shown_quoted

COMMIT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+:@-]{0,99}")
"""What may name the state of a repository."""

_REVISION: Final = re.compile(r"[0-9a-f]{32}")
_MEMBERS: Final = frozenset({"revision", "roots", "rego_version", "metadata"})
_MANY: Final = 100
"""Values of a manifest."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a bundle says of itself: whose content it is, its place in the order of bundles, what it was built from."""

    revision: str
    serial: int
    commit: str


def read_manifest(files: Mapping[str, str]) -> Manifest:
    """The manifest among the files of a bundle. Raises `BundleRefused` with a clause that says why there is none."""
    if MANIFEST not in files:
        raise _broken("it has no manifest")
    manifest = strict(MANIFEST, files[MANIFEST], _MANY)
    metadata = manifest.get("metadata") if type(manifest) is dict else None
    if type(metadata) is not dict:
        raise _broken("its manifest has no metadata")
    # First: what else another format may say is not known here.
    _check_format(metadata)
    if unknown := sorted(manifest.keys() - _MEMBERS):
        raise BundleRefused("foreign", f"its manifest speaks of {shown_quoted(unknown[0])}, which no policy needs")
    if manifest.get("roots") != [ROOT]:
        raise BundleRefused("foreign", f"it owns something else than {ROOT}")
    version = manifest.get("rego_version", 1)
    if type(version) is not int or version != 1:
        raise BundleRefused("foreign", "it is written in another version of Rego than 1")
    revision, serial, commit = manifest.get("revision"), metadata.get("serial"), metadata.get("commit", "")
    if type(revision) is not str or not _REVISION.fullmatch(revision):
        raise _broken("its revision is none")
    if type(serial) is not int or not 1 <= serial <= MAX_SERIAL:
        raise _broken(f"its serial is no number from 1 to {MAX_SERIAL}")
    if type(commit) is not str or not (commit == "" or COMMIT.fullmatch(commit)):
        raise _broken("its commit is no name")
    return Manifest(revision, serial, commit)


def _check_format(metadata: Mapping[str, Any]) -> None:
    found, version = metadata.get("format"), metadata.get("sidecar")
    if type(found) is int and found == FORMAT:
        return
    built = f"version {shown(version)} of the sidecar" if type(version) is str else "something else than a sidecar"
    said = f"format {found}" if type(found) is int else "no format"
    raise BundleRefused("format", f"{built} built it in {said}, and this one reads format {FORMAT}")


def _broken(why: str) -> BundleRefused:
    return BundleRefused("broken", why)
