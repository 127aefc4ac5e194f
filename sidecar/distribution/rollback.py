"""Old content under a new serial: what was signed is verified, made anew by us, and signed again.

Without the check, whoever can write where bundles are kept would get his own signed by the next rollback.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.distribution.label import again
from sidecar.engine.sign import of_publisher, signed
from sidecar.engine.verify import VerificationKey, verification_key, verify
from sidecar.errors import UsageError
from sidecar.policy import archive
from sidecar.policy.archive import SIGNATURES, TO_TRAVEL


def rolled_back(data: bytes, serial: int, key: str, keys: Sequence[VerificationKey], now: float) -> bytes:
    """The bundle of the same content under a serial, signed with a private key in PEM, unsigned where that is empty.

    It was signed by that key too, or by one of `keys`. Raises `BundleRefused` with a clause that says why it was not.
    """
    files = archive.read(data)
    if not key:
        if SIGNATURES in files:
            raise UsageError("the bundle is signed, and under a new serial it has to be signed again: give --key")
        return archive.write(again(data, serial), TO_TRAVEL)
    signer = of_publisher(key, "--key")
    verify(files, [*keys, verification_key(signer.public, "--key", now)], now)
    return archive.write(signed(again(data, serial), signer), TO_TRAVEL)
