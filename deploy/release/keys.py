"""The keys of a release: the private one that signs provenance, and the public one that verifies it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from deploy.release.refused import Refused
from sidecar.engine.sign import SigningKey, of_publisher
from sidecar.engine.verify import VerificationKey, read_key
from sidecar.errors import StartError
from sidecar.system import files, ownership

_MOST: Final = 64 << 10


def signing(path: Path) -> SigningKey:
    """The private key in a file. Raises `Refused` for one that others can read, or that is none."""
    what = f"the key {path}"
    try:
        ownership.check(path, what, secret=True)
        return of_publisher(_text(path), what)
    except StartError as error:
        raise Refused(str(error)) from None


def verification(path: Path) -> VerificationKey:
    """The public key or the certificate in a file. Raises `Refused` for a private key, and for one that has expired."""
    try:
        key = read_key(_text(path), str(path))
    except StartError as error:
        raise Refused(str(error)) from None
    if trouble := key.trouble(time.time()):
        raise Refused(trouble)
    return key


def _text(path: Path) -> str:
    try:
        return files.read(path, _MOST).data.decode("latin-1")
    except files.Unreadable as error:
        raise Refused(f"the key {path} cannot be read: {error}") from None
