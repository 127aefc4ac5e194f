"""What the files of a release are called. Architectures are named as Go and images name them: amd64, arm64."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from typing import Final

from deploy.release.folder import PROVENANCE

MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
"""Architectures by what the kernel and tags of wheels call them."""

_DISTRIBUTION: Final = "intercept_sidecar"
_PRODUCT: Final = "intercept-sidecar"


def architecture() -> str:
    """This machine's."""
    return MACHINES[platform.machine()]


def of_wheel(name: str) -> str:
    """The architecture that a wheel is for, by its tag."""
    (machine,) = {found for found in MACHINES if name.endswith(f"_{found}.whl")}
    return MACHINES[machine]


def provenance(version: str, image_of: str = "") -> str:
    """The provenance of the packages, or of the image for an architecture."""
    return f"{_image(version, image_of) if image_of else f'{_PRODUCT}-{version}'}{PROVENANCE}"


def sbom(version: str, architecture: str) -> str:
    """The SBOM of a wheel."""
    return f"{_PRODUCT}-{version}-{architecture}.cdx.json"


def image_sbom(version: str, architecture: str) -> str:
    """The SBOM of an image."""
    return f"{_image(version, architecture)}.cdx.json"


def archive(version: str, architecture: str) -> str:
    """The archive (OCI) that holds an image."""
    return f"{_image(version, architecture)}.oci.tar"


def manifest(version: str, architecture: str) -> str:
    """The subject of a provenance that is no file: the manifest of the image, by whose digest it is pulled."""
    return f"{_image(version, architecture)}.manifest"


def packages(names: Iterable[str]) -> list[str]:
    """The names that an index of Python packages takes: wheels and the source."""
    return sorted(name for name in names if re.fullmatch(rf"{_DISTRIBUTION}-.*(\.whl|\.tar\.gz)", name))


def _image(version: str, architecture: str) -> str:
    return f"{_PRODUCT}-{version}-image-{architecture}"
