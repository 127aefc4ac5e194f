"""Signs bundles: `.signatures.json` is a JWT over the hash of every file (OPA's bundle signing).

Whoever serves a bundle, only one that was signed here comes into force. There are three kinds of key: a secret that an
OPA of our own shares with us; a private key, of which an OPA of somebody else's has the public half; and the private
key of whoever publishes a policy, of which sidecars have the public half (`verify`). OPA also accepts an older bundle
of ours; `Engine` refuses its answers by the serial in them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from sidecar.errors import StartError
from sidecar.policy.archive import SIGNATURES

KEY_ID: Final = "intercept"
SCOPE: Final = "intercept"
"""The scope of the signature, which OPA's configuration names with the key."""
MIN_RSA_BITS: Final = 2048

_STRUCTURED: Final = frozenset({".manifest", "data.json"})
"""Files of which OPA hashes the JSON value, not the text."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key to sign with: its algorithm by its name in RFC 7518, and the function that signs bytes.

    `public` is its public half in PEM, empty where it has none. `repeats` is True where the same bytes have the same
    signature each time.
    """

    algorithm: str
    sign: Callable[[bytes], bytes] = field(repr=False)
    public: str = ""
    repeats: bool = True


def shared(secret: str) -> SigningKey:
    """A key from a secret that OPA has too. Whoever can read it can sign."""
    return SigningKey("HS256", lambda data: hmac.digest(secret.encode(), data, "sha256"))


def private(pem: str) -> SigningKey:
    """A key from a private key in PEM, on the curve P-256. Raises `StartError` if the text is none."""
    key = _es256(_loaded(pem))
    if key is None:
        raise StartError(
            "--bundle-signing-key must be a private key on the curve P-256, in PEM and without a password: make one "
            "with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`"
        )
    return key


def of_publisher(pem: str, what: str) -> SigningKey:
    """A key that signs what travels, from a private key in PEM; `what` names it. Raises `StartError` if it is none.

    An RSA key signs by RS256, one on the curve P-256 by ES256.
    """
    loaded = _loaded(pem)
    key = _rs256(loaded) or _es256(loaded)
    if key is None:
        raise StartError(
            f"{what} must be a private key in PEM without a password: RSA of {MIN_RSA_BITS} bits or more, or on the "
            "curve P-256; make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072`"
        )
    return key


def _loaded(pem: str) -> Any:
    """The private key in a text, of whatever kind; None where there is none."""
    # Imported only here: the library takes 30 ms and 10 MiB, and an OPA of our own does not need it.
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        return load_pem_private_key(pem.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None  # the reason may quote the key


def _es256(loaded: Any) -> SigningKey | None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, utils  # noqa: PLC0415

    if not isinstance(loaded, ec.EllipticCurvePrivateKey) or not isinstance(loaded.curve, ec.SECP256R1):
        return None
    try:
        # RFC 6979: the number beside the key comes from the key and the data, so the same bytes are signed alike.
        how, repeats = ec.ECDSA(hashes.SHA256(), deterministic_signing=True), True
    except UnsupportedAlgorithm:  # by an old OpenSSL, or one in FIPS mode
        how, repeats = ec.ECDSA(hashes.SHA256()), False

    def sign(data: bytes) -> bytes:
        r, s = utils.decode_dss_signature(loaded.sign(data, how))
        return r.to_bytes(32) + s.to_bytes(32)

    return SigningKey("ES256", sign, _public(loaded), repeats)


def _rs256(loaded: Any) -> SigningKey | None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415

    if not isinstance(loaded, rsa.RSAPrivateKey) or loaded.key_size < MIN_RSA_BITS:
        return None
    return SigningKey("RS256", lambda data: loaded.sign(data, padding.PKCS1v15(), hashes.SHA256()), _public(loaded))


def _public(loaded: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return bytes(loaded.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)).decode()


def signed(files: Mapping[str, str], key: SigningKey) -> dict[str, str]:
    """The files of a bundle, with `.signatures.json` added."""
    hashes = [
        {"name": path, "hash": digest(path, text), "algorithm": "SHA-256"} for path, text in sorted(files.items())
    ]
    head = {"alg": key.algorithm, "kid": KEY_ID, "typ": "JWT"}
    token = _part(_json(head)) + b"." + _part(_json({"files": hashes, "scope": SCOPE}))
    token += b"." + _part(key.sign(token))
    return {**files, SIGNATURES: json.dumps({"signatures": [token.decode()]})}


def digest(path: str, text: str) -> str:
    """The hash of a file as OPA makes it: of JSON without blanks, keys sorted, numbers untouched; of others as is."""
    return hashlib.sha256(_hashed(path, text)).hexdigest()


def is_structured(path: str) -> bool:
    """True for a file of which the JSON value is hashed, not the text."""
    return path.rpartition("/")[2] in _STRUCTURED


def _hashed(path: str, text: str) -> bytes:
    if not is_structured(path):
        return text.encode()
    found = _sorted(json.loads(text, parse_int=_token, parse_float=_token))
    # Go escapes these two line ends; everything else it writes as msgspec does.
    return found.replace("\u2028".encode(), rb"\u2028").replace("\u2029".encode(), rb"\u2029")


_sorted = msgspec.json.Encoder(order="sorted").encode
_json = msgspec.json.encode


def _token(number: str) -> Any:
    return msgspec.Raw(number.encode())


def _part(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
