"""Verifies the signatures of bundles that somebody published: the other half of `sign`.

What counts is decided by the key alone: a public RSA key verifies RS256 and nothing else, one on the curve P-256 ES256.
Every file has to be in the signature with its hash, and nothing else may be.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from sidecar.engine.sign import KEY_ID, MIN_RSA_BITS, SCOPE, digest, is_structured
from sidecar.errors import BundleRefused, StartError
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.policy.archive import MAX_VALUES, SIGNATURES, strict
from sidecar.text import shown, shown_quoted


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A public key, as `name` in messages, and what it verifies: `verifies(signature, data)`.

    A key out of a certificate counts from `since` until `until`, in Unix seconds.
    """

    name: str
    algorithm: str
    verifies: Callable[[bytes, bytes], bool] = field(repr=False)
    since: float = float("-inf")
    until: float = float("inf")

    def trouble(self, now: float) -> str:
        """Why the key does not count now; empty where it does."""
        if now > self.until:
            return f"the certificate {self.name} expired on {_date(self.until)}"
        return f"the certificate {self.name} is valid only from {_date(self.since)}" if now < self.since else ""


def verification_key(pem: str, name: str, now: float) -> VerificationKey:
    """The key in a text, as `read_key` does; it has to count now. Raises `StartError`."""
    key = read_key(pem, name)
    if trouble := key.trouble(now):
        raise StartError(f"{trouble}: give the key that replaced it with --bundle-key")
    return key


def read_key(pem: str, name: str) -> VerificationKey:
    """The key in a text: a public key or a certificate in PEM. `name` is where it comes from.

    Nobody has to vouch for a certificate: it is trusted because it was given. Raises `StartError`.
    """
    if _PRIVATE.search(pem):
        raise StartError(
            f"{name} is a private key, with which everybody could sign who can read it here: give its public half, "
            "which `openssl pkey -in KEY.pem -pubout` writes"
        )
    if pem.count("-----BEGIN ") != 1:
        raise StartError(f"{name} must hold one public key or one certificate, in PEM: {_MAKE}")
    loaded, since, until = _loaded(pem)
    key = _key(name, loaded, since, until)
    if key is None:
        raise StartError(
            f"{name} must be a public key in PEM, RSA of {MIN_RSA_BITS} bits or more or on the curve P-256: {_MAKE}"
        )
    return key


_PRIVATE: Final = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
_MAKE: Final = "`openssl pkey -in KEY.pem -pubout` writes it"


def verify(files: Mapping[str, str], keys: Sequence[VerificationKey], now: float) -> None:
    """Raise `BundleRefused`, with a clause that says why, unless one of the keys signed these files and no others."""
    if SIGNATURES not in files:
        raise BundleRefused("unsigned", "it is not signed, and only what a key of --bundle-key signed counts")
    head, claims, signature, data = _parts(_token(files[SIGNATURES]))
    said = _said(head, _FEW)
    _check_head(said)
    _check_signature(said["alg"], signature, data, keys, now)
    # Only now: what nobody signed costs little to refuse.
    _check_files(_hashes(_said(claims, MAX_VALUES), said), files)


def _check_signature(
    algorithm: str, signature: bytes, data: bytes, keys: Sequence[VerificationKey], now: float
) -> None:  # fmt: skip
    able = [key for key in keys if key.algorithm == algorithm]
    if not able:
        theirs = " or ".join(sorted({key.algorithm for key in keys}))
        raise _bad(f"its signature says {shown_quoted(algorithm)}, while the keys of --bundle-key are for {theirs}")
    signers = [key for key in able if key.verifies(signature, data)]
    if not signers:
        raise _bad(f"none of the keys of --bundle-key signed it: {', '.join(key.name for key in keys)}")
    if all(key.trouble(now) for key in signers):
        raise _bad(signers[0].trouble(now))


def _check_head(head: dict[str, Any]) -> None:
    if not isinstance(head.get("alg"), str) or head.keys() - {"alg", "kid", "typ"} or head.get("typ", "JWT") != "JWT":
        raise _bad("the head of its signature says more than an algorithm and a key")


def _hashes(claims: dict[str, Any], head: dict[str, Any]) -> dict[str, str]:
    """The hash of each file, as the claims say. The key's id may stand in the head or, as `opa sign` has it, here."""
    if claims.keys() - {"files", "scope", "keyid", "iat", "iss"}:
        raise _bad("its signature says more than the files, the scope and the key")
    if claims.get("scope") != SCOPE:
        raise _bad(f"it was signed for another purpose: the scope of its signature must be {SCOPE}")
    ids = [said[name] for said, name in ((head, "kid"), (claims, "keyid")) if name in said]
    if not ids or any(one != KEY_ID for one in ids):
        raise _bad(f"its signature must name its key as {KEY_ID}")
    try:
        listed = msgspec.convert(claims.get("files"), list[_Signed])
    except msgspec.ValidationError:
        raise _bad("its signature lists no files and hashes (SHA-256)") from None
    hashes = {file.name.removeprefix("/"): file.hash for file in listed}
    if len(hashes) != len(listed):
        raise _bad("its signature lists a file twice")
    return hashes


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    hash: str
    algorithm: Any

    def __post_init__(self) -> None:
        if self.algorithm != "SHA-256":
            raise ValueError


def _check_files(hashes: Mapping[str, str], files: Mapping[str, str]) -> None:
    there = files.keys() - {SIGNATURES}
    if added := sorted(there - hashes.keys()):
        raise _bad(f"{shown(added[0])} was added after it was signed")
    if gone := sorted(hashes.keys() - there):
        raise _bad(f"{shown_quoted(gone[0])} was taken out after it was signed")
    for path in sorted(there):
        if is_structured(path):
            strict(path, files[path])  # else the hash might be that of another reading
        if digest(path, files[path]) != hashes[path]:
            raise _bad(f"{path} was changed after it was signed")


def _token(text: str) -> str:
    if len(text) > _LONGEST:
        raise _bad(f"its signature is longer than {_LONGEST >> 20} MiB")
    found = strict(SIGNATURES, text, _FEW)
    match found:
        case {"signatures": [str(token)]} if len(found) == 1:
            return token
    raise _bad(f"{SIGNATURES} in it must hold one signature, and nothing else")


def _parts(token: str) -> tuple[bytes, bytes, bytes, bytes]:
    """Head, claims, signature, and the bytes that it is over."""
    parts = token.split(".", 3)
    if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
        raise _bad("its signature is no JWT")
    head, claims, signature = map(_decoded, parts)
    return head, claims, signature, token.rpartition(".")[0].encode()


_PART: Final = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST: Final = 4 << 20
"""Characters of a signature: one over as many files as a bundle may have, and the longest names, has half of that."""
_FEW: Final = 100
"""Values that are read of what nobody signed."""


def _said(part: bytes, most: int) -> dict[str, Any]:
    try:
        said, _ = read_value(part, most)
    except NotStrict:
        said = None
    if type(said) is not dict:
        raise _bad("its signature is no JWT")
    return said


def _decoded(part: str) -> bytes:
    try:
        found = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        raise _bad("its signature is no JWT") from None
    if base64.urlsafe_b64encode(found).rstrip(b"=").decode() != part:
        raise _bad("its signature is no JWT")
    return found


def _bad(why: str) -> BundleRefused:
    return BundleRefused("signature", why)


def _loaded(pem: str) -> tuple[Any, float, float]:
    """The public key in a text, of whatever kind, and since and until when it counts; None where there is none."""
    # Imported only where bundles are verified: the library takes 30 ms and 10 MiB.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    try:
        if "-----BEGIN CERTIFICATE-----" not in pem:
            return load_pem_public_key(pem.encode()), float("-inf"), float("inf")
        found = load_pem_x509_certificate(pem.encode())
        since, until = found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()
        return found.public_key(), since, until
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None, 0, 0


def _key(name: str, loaded: Any, since: float, until: float) -> VerificationKey | None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils  # noqa: PLC0415

    def rs256(signature: bytes, data: bytes) -> bool:
        try:
            loaded.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True

    def es256(signature: bytes, data: bytes) -> bool:
        if len(signature) != 64:
            return False
        r, s = int.from_bytes(signature[:32]), int.from_bytes(signature[32:])
        try:
            loaded.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    if isinstance(loaded, rsa.RSAPublicKey) and loaded.key_size >= MIN_RSA_BITS:
        return VerificationKey(name, "RS256", rs256, since, until)
    if isinstance(loaded, ec.EllipticCurvePublicKey) and isinstance(loaded.curve, ec.SECP256R1):
        return VerificationKey(name, "ES256", es256, since, until)
    return None


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
