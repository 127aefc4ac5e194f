"""What a bundle says of itself, without any judgement of it; and old content made anew under a higher serial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sidecar.errors import BundleRefused
from sidecar.ledger.protocol import MAX_SERIAL
from sidecar.policy import archive
from sidecar.policy.archive import strict
from sidecar.policy.bundle import FACTS, FORMAT, POLICY, SOURCES, Bundle, build
from sidecar.policy.custom import CUSTOM
from sidecar.policy.manifest import read_manifest
from sidecar.text import shown

_MANY: Final = 1000
"""Values of a manifest, whatever its format."""


@dataclass(frozen=True, slots=True)
class Label:
    """Whose content it is (`revision`), its place in the order of bundles, what it was built from, if it is signed."""

    revision: str
    serial: int
    commit: str
    format: int
    signed: bool


def label(data: bytes) -> Label:
    """The label of a bundle. Raises `BundleRefused` with a clause that says why it has none."""
    return _label(archive.read(data))


def checked(data: bytes) -> Label:
    """The same, of a bundle whose content is the one that its revision names, as far as our format goes."""
    files = archive.read(data)
    found = _label(files)
    if found.format == FORMAT:
        read_manifest(files)  # more strictly
        made = _made(files, found.serial, found.commit).revision
        if made != found.revision:
            raise BundleRefused("broken", f"its revision is {found.revision}, its content's is {made}: build it again")
    return found


def again(data: bytes, serial: int) -> dict[str, str]:
    """The files of the same content under another serial, with our own library and without a signature.

    Raises `BundleRefused` where this version cannot make it.
    """
    files = archive.read(data)
    found = _label(files)
    if found.format != FORMAT:
        raise BundleRefused(
            "format",
            f"another version of the sidecar built it (format {found.format}, ours is {FORMAT}): "
            f"build it again from its commit {shown(found.commit) or '(it names none)'}",
        )
    checked(data)
    made = _made(files, serial, found.commit).files
    return made | ({SOURCES: files[SOURCES]} if SOURCES in files else {})


def _label(files: Mapping[str, str]) -> Label:
    try:
        manifest = strict(archive.MANIFEST, files[archive.MANIFEST], _MANY)
        metadata, revision = manifest["metadata"], manifest["revision"]
        serial, commit, form = metadata["serial"], metadata.get("commit", ""), metadata["format"]
    except (KeyError, TypeError, AttributeError):
        raise BundleRefused("broken", "it says no revision and serial: build it with `sidecar policy build`") from None
    if type(serial) is not int or not 0 < serial <= MAX_SERIAL or type(form) is not int:
        raise BundleRefused("broken", "its serial is no number from 1 on: build it with `sidecar policy build`")
    if not isinstance(revision, str) or not revision or not isinstance(commit, str):
        raise BundleRefused("broken", "its revision is no text: build it with `sidecar policy build`")
    return Label(revision, serial, commit, form, archive.SIGNATURES in files)


def _made(files: Mapping[str, str], serial: int, commit: str) -> Bundle:
    compiled = {
        path: text for path, text in files.items() if path == FACTS or path.startswith((POLICY, f"{CUSTOM}/"))
    }  # fmt: skip
    try:
        return build(compiled, serial, commit)
    except Exception:  # noqa: BLE001 - whatever stands in its facts: it is not ours
        raise BundleRefused("broken", "its facts cannot be read: build it with `sidecar policy build`") from None
