"""Manifests of an OCI registry: what one says about a bundle, and the one that we write. No I/O.

The media types are those that OPA asks for, so that an OPA without us pulls the same bundle.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sidecar.distribution.file_source import tag_of
from sidecar.distribution.oci.reference import DIGEST

MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
ACCEPT: Final = f"{MANIFEST}, {INDEX}"
EMPTY: Final = b"{}"
"""The configuration of a bundle: nothing."""
MAX_MANIFEST: Final = 256 << 10


@dataclass(frozen=True, slots=True)
class Blob:
    """A content by its digest, and how long it is."""

    digest: str
    size: int


class NoManifest(Exception):
    """It is no manifest of a bundle. The text says why."""


def written(layer: bytes, annotations: Mapping[str, str]) -> bytes:
    """The manifest of a bundle: the same bytes for the same input, so it says no time."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": tag_of(EMPTY), "size": len(EMPTY)},
            "layers": [{"mediaType": LAYER, "digest": tag_of(layer), "size": len(layer)}],
            "annotations": dict(sorted(annotations.items())),
        },
        separators=(",", ":"),
    ).encode()


def bundle_in(manifest: bytes) -> Blob | str:
    """The blob that is the bundle; of an index that names one manifest, the digest of that. Raises `NoManifest`."""
    try:
        found = json.loads(manifest)
    except (ValueError, RecursionError):
        raise NoManifest("its manifest is no JSON") from None
    if not isinstance(found, dict):
        raise NoManifest("its manifest is no object")
    if found.get("mediaType") == INDEX or (isinstance(found.get("manifests"), list) and "layers" not in found):
        return _only(found)
    layers = [layer for layer in _list(found, "layers") if layer.get("mediaType") == LAYER]
    if len(layers) != 1:
        raise NoManifest(
            f"its manifest has {len(layers) or 'no'} layers of the type {LAYER}, and a bundle has one: is it an image?"
        )
    return _blob(layers[0])


def _only(index: Mapping[str, Any]) -> str:
    # Builders add attestations, which say so by an annotation.
    manifests = [
        entry
        for entry in _list(index, "manifests")
        if entry.get("mediaType") == MANIFEST and "vnd.docker.reference.type" not in str(entry.get("annotations"))
    ]
    if len(manifests) != 1:
        raise NoManifest(f"it is an index of {len(manifests)} manifests: name one, as NAME@sha256:DIGEST")
    return _blob(manifests[0]).digest


def _blob(entry: Mapping[str, Any]) -> Blob:
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise NoManifest("its manifest names a content by something else than a SHA-256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise NoManifest("its manifest names a content without its size")
    return Blob(digest, size)


def _list(found: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = found.get(key)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise NoManifest(f"its manifest has no list of {key}")
    return entries
