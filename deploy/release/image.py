"""The image of a release: taken from podman into an archive (OCI), looked into, and sent to a registry."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from pathlib import Path
from typing import Final

from deploy.release.commands import run
from deploy.release.refused import Refused
from sidecar.distribution.oci.reference import SCHEME, OciReference

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SECONDS: Final = 1800.0
_MOST: Final = 1 << 20
"""Bytes of an index or a manifest."""


def save(root: Path, reference: str, archive: Path) -> str:
    """Write an image that podman has into an archive. Returns the digest of its manifest."""
    run([root / "deploy" / "podman", "save", "--quiet", "--format", "oci-archive", "-o", archive, reference], root)
    return manifest_digest(archive)


def manifest_digest(archive: Path) -> str:
    """The digest (`sha256:…`) of the one image in an archive. Raises `Refused` if there is not exactly one."""
    try:
        with tarfile.open(archive, "r:") as tar:
            index = json.loads(_member(tar, "index.json"))
            (entry,) = index["manifests"]
            digest = str(entry["digest"])
            manifest = _member(tar, f"blobs/sha256/{digest.removeprefix('sha256:')}")
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError, RecursionError):
        raise Refused(f"{archive.name} is no archive of one image") from None
    if not _DIGEST.fullmatch(digest) or f"sha256:{hashlib.sha256(manifest).hexdigest()}" != digest:
        raise Refused(f"{archive.name} holds another manifest than its index names")
    return digest


def digest_at(root: Path, place: OciReference, login_file: str) -> str:
    """The digest of the manifest that a registry has under a tag; empty where it has none. Raises `Refused`."""
    words = ["skopeo", "inspect", f"--authfile={login_file}", f"--tls-verify={_tls(place)}", "--raw", _docker(place)]
    try:
        raw = run(words, root, seconds=_SECONDS)
    except Refused as error:
        if re.search(r"manifest unknown|name unknown|NAME_UNKNOWN|MANIFEST_UNKNOWN", str(error)):
            return ""
        raise
    return f"sha256:{hashlib.sha256(raw.encode()).hexdigest()}"


def push(root: Path, archive: Path, place: OciReference, login_file: str, digest: str) -> None:
    """Send the image in an archive to a registry, its bytes unchanged. Raises `Refused`."""
    run(
        ["skopeo", "copy", "--quiet", "--preserve-digests", f"--dest-authfile={login_file}",
         f"--dest-tls-verify={_tls(place)}", f"oci-archive:{archive}", _docker(place)],
        root, seconds=_SECONDS,
    )  # fmt: skip
    if (there := digest_at(root, place, login_file)) != digest:
        raise Refused(f"{place} is {there or 'not there'}, not {digest}: the registry changed it, or somebody else did")


def _tls(place: OciReference) -> str:
    """Without TLS only on this machine itself, as for bundles."""
    return "true" if place.registry.secure else "false"


def _docker(place: OciReference) -> str:
    return f"docker://{str(place).removeprefix(SCHEME)}"


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    """A file of an archive that is there once."""
    (member,) = [member for member in tar.getmembers() if member.name.removeprefix("./") == name]
    file = tar.extractfile(member)
    if file is None or member.size > _MOST:
        raise ValueError(name)
    return file.read()
