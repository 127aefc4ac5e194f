"""The keys by which JWTs are verified (RFC 7517): public ones, each for the algorithms that it may be used with.

Importing PyJWT and `cryptography` costs start-up time, so this module is imported only where JWTs are verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from jwt import PyJWK, PyJWTError

from sidecar.auth.fetch import MAX_BYTES
from sidecar.mcp.strict_json import NotStrict, read_value

MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Asymmetric ones only: with `none` and HS* a public key would be all that a forger needs."""

_RSA: Final = frozenset(name for name in ALGORITHMS if name[:2] in ("RS", "PS"))
_BY_CURVE: Final = {
    ("EC", "P-256"): "ES256", ("EC", "P-384"): "ES384", ("EC", "P-521"): "ES512",
    ("OKP", "Ed25519"): "EdDSA", ("OKP", "Ed448"): "EdDSA",
}  # fmt: skip
_PUBLIC: Final = ("kty", "crv", "x", "y", "n", "e")
"""The members of a public key. If somebody published a private one, the rest of it is not read."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key."""

    kid: str | None
    algorithms: frozenset[str]
    material: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """The keys of an issuer at one time, and the digest of the document that they were read from."""

    keys: tuple[Key, ...]
    digest: bytes

    def find(self, kid: str | None, algorithm: str) -> Key | None:
        """The one key that fits; None if there is none, or more than one."""
        fitting = [key for key in self.keys if algorithm in key.algorithms and (kid is None or key.kid == kid)]
        return fitting[0] if len(fitting) == 1 else None


def read_keys(content: bytes) -> KeySet:
    """The usable keys of a JWK set; others are left out, as the RFC asks. Raises ValueError if there are none."""
    if len(content) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES} bytes")
    try:
        document, _ = read_value(content)
    except NotStrict as problem:
        raise ValueError(f"is no JSON that has one meaning: {problem}") from None
    listed = document.get("keys") if type(document) is dict else None
    if type(listed) is not list:
        raise ValueError('is no JWK set: it needs a list "keys"')
    if len(listed) > MAX_KEYS:
        raise ValueError(f"holds more than {MAX_KEYS} keys")
    keys = [key for key in map(_key, listed) if key is not None]
    if not keys:
        raise ValueError(
            "holds no public key for signatures that could be used (RSA from 2048 bits, EC, Ed25519, Ed448)"
        )
    return KeySet(tuple(keys), hashlib.sha256(content).digest())


def _key(jwk: Any) -> Key | None:
    if type(jwk) is not dict:
        return None
    kid, algorithms = jwk.get("kid"), _algorithms(jwk)
    if not algorithms or not _is_for_verifying(jwk) or not (kid is None or type(kid) is str):
        return None
    public = {name: jwk[name] for name in _PUBLIC if name in jwk}
    try:
        material = PyJWK(public, min(algorithms)).key
    except (PyJWTError, KeyError, TypeError, ValueError, AttributeError):
        return None  # members are missing, of another type, or no point on the curve
    if jwk["kty"] == "RSA" and material.key_size < MIN_RSA_BITS:
        return None
    return Key(kid, algorithms, material)


def _algorithms(jwk: Mapping[str, Any]) -> frozenset[str]:
    """The algorithms that the key can be used with: only its own `alg` if it names one."""
    kty, curve, own = jwk.get("kty"), jwk.get("crv"), jwk.get("alg")
    if type(kty) is not str or not (curve is None or type(curve) is str):
        return frozenset()
    able = _RSA if kty == "RSA" else frozenset({_BY_CURVE.get((kty, curve or ""), "")}) - {""}
    if own is None:
        return able
    return able & {own} if type(own) is str else frozenset()


def _is_for_verifying(jwk: Mapping[str, Any]) -> bool:
    operations = jwk.get("key_ops", ["verify"])
    return jwk.get("use", "sig") == "sig" and type(operations) is list and "verify" in operations
