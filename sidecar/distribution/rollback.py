"""Old content under a new serial: what was signed is verified, made anew by us, and signed again.

Without the check, whoever can write where bundles are kept would get his own signed by the next rollback.
"""

from __future__ import annotations

from collections.abc import Sequence

from sidecar.distribution.label import again
from sidecar.engine.sign import of_publisher, signed
from sidecar.engine.verify import read_key, verify
from sidecar.errors import UsageError
from sidecar.policy import archive
from sidecar.policy.archive import SIGNATURES, TO_TRAVEL


def rolled_back(data: bytes, serial: int, key: str, older: Sequence[str], now: float) -> bytes:
    """The bundle of the same content under a serial, signed with a private key in PEM, unsigned where that is empty.

    It was signed by that key too, or by one of the `older` public ones. Raises `BundleRefused` with a clause that says
    why not.
    """
    files = archive.read(data)
    if not key:
        if SIGNATURES in files:
            raise UsageError("the bundle is signed, and under a new serial it has to be signed again: give --key")
        return archive.write(again(data, serial), TO_TRAVEL)
    signer = of_publisher(key, "--key")
    keys = [read_key(pem, f"--bundle-key no. {number}") for number, pem in enumerate(older, 1)]
    verify(files, [*keys, read_key(_public_half(key), "--key")], now)
    return archive.write(signed(again(data, serial), signer), TO_TRAVEL)


def _public_half(pem: str) -> str:
    # Imported only here: the library takes 30 ms and 10 MiB.
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    public = load_pem_private_key(pem.encode(), None).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
