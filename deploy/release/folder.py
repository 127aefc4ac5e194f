"""The files of a release in their folder: what is there, and what each hashes to."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from deploy.release.refused import Refused
from deploy.release.sums import NAME, SUMS
from sidecar.system import files

PUBLISHED: Final = "published.txt"
"""What `make publish` leaves: where the image is. It is no part of the release."""
PROVENANCE: Final = ".provenance.json"
"""How the name of a provenance ends."""
MAX_TEXT: Final = 8 << 20
"""Bytes of sums and of a provenance."""


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file but the sums, by name. Raises `Refused` for anything that is no plain file."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise Refused(f"{folder} cannot be read: {error.strerror}; name the folder of a release") from None
    return {entry.name: digest(Path(entry.path)) for entry in entries if entry.name not in (SUMS, PUBLISHED)}


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    if not NAME.fullmatch(path.name):
        raise Refused(f"{path.name!r} is no name for a file of a release")
    try:
        # Without waiting: a pipe has no writer.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise Refused(f"{path.name} is no plain file")
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise Refused(f"{path.name} is no plain file that can be read: {error.strerror}") from None


def content(folder: Path, name: str) -> bytes:
    """The bytes of a small file."""
    try:
        return files.read(folder / name, MAX_TEXT).data
    except files.Unreadable as error:
        raise Refused(f"{folder / name} cannot be read: {error}") from None
