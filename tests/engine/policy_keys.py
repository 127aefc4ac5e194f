"""Keys of publishers, made once, and certificates for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

RSA: Final = rsa.generate_private_key(65537, 2048)
OTHER_RSA: Final = rsa.generate_private_key(65537, 2048)
EC: Final = ec.generate_private_key(ec.SECP256R1())
OTHER_EC: Final = ec.generate_private_key(ec.SECP256R1())

NOON: Final = 1_700_000_000.0


def private_pem(key: Any) -> str:
    """The private key as a file holds it."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())).decode()


def public_pem(key: Any) -> str:
    """Its public half."""
    return bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).decode()


def certificate(key: Any, *, since: float, until: float) -> str:
    """A certificate that the key gave itself, for some days around noon."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "policy")])
    noon = datetime.fromtimestamp(NOON, UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 7, noon + timedelta(days=since), noon + timedelta(days=until)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def only_at_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where OpenSSL does not know RFC 6979."""
    known = ec.ECDSA

    def ecdsa(algorithm: hashes.HashAlgorithm, deterministic_signing: bool = False) -> ec.ECDSA:
        if deterministic_signing:
            raise UnsupportedAlgorithm("ECDSA with deterministic signature (RFC 6979)")
        return known(algorithm)

    monkeypatch.setattr(ec, "ECDSA", ecdsa)
