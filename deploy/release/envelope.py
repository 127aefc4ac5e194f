"""DSSE envelopes: a payload, its type, and signatures over both. Values in, values out.

The key alone decides what counts: one on the curve P-256 verifies ECDSA with SHA-256 (in DER, as openssl
writes it), an RSA key PKCS #1 v1.5 with SHA-256. What an envelope says of a key is a hint, and is not looked at.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from deploy.release.refused import Refused
from sidecar.engine.sign import SigningKey
from sidecar.engine.verify import VerificationKey
from sidecar.mcp.strict_json import NotStrict, read_value
from sidecar.text import shown

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
MAX_VALUES: Final = 10_000
MAX_SIGNATURES: Final = 8


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was opened: the payload, and signatures that nobody has looked at yet. Without any it is unsigned."""

    payload: bytes
    signatures: tuple[bytes, ...]


def to_be_signed(payload: bytes) -> bytes:
    """The bytes that a signature is over: DSSE's pre-authentication encoding of payload and type."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sealed(payload: bytes, key: SigningKey | None) -> bytes:
    """An envelope as bytes, signed where there is a key."""
    signatures = []
    if key is not None:
        raw = key.sign(to_be_signed(payload))
        sig = in_der(raw) if key.algorithm == "ES256" else raw
        signatures.append({"keyid": _key_id(key.public), "sig": base64.b64encode(sig).decode()})
    document = {
        "payload": base64.b64encode(payload).decode(), "payloadType": PAYLOAD_TYPE, "signatures": signatures,
    }  # fmt: skip
    return json.dumps(document, indent=2, sort_keys=True).encode() + b"\n"


def opened(data: bytes, name: str) -> Envelope:
    """What is in an envelope. Raises `Refused`, which names it, for what two readers could read differently."""
    try:
        found = msgspec.convert(read_value(data, MAX_VALUES)[0], _Document)
    except (NotStrict, msgspec.ValidationError) as error:
        raise Refused(f"{name} is no DSSE envelope: {shown(str(error))}") from None
    if found.payload_type != PAYLOAD_TYPE:
        raise Refused(f"{name} has a payload of type {shown(found.payload_type)}: it must be {PAYLOAD_TYPE}")
    if len(found.signatures) > MAX_SIGNATURES:
        raise Refused(f"{name} has more than {MAX_SIGNATURES} signatures")
    return Envelope(_decoded(found.payload, name), tuple(_decoded(one.sig, name) for one in found.signatures))


def check(envelope: Envelope, key: VerificationKey, name: str) -> None:
    """Raise `Refused` unless the key signed it."""
    if not envelope.signatures:
        raise Refused(f"{name} is not signed, so nothing shows who made it")
    data = to_be_signed(envelope.payload)
    if not any(_verifies(key, signature, data) for signature in envelope.signatures):
        raise Refused(f"{name} was not signed with the key {key.name}, or was changed afterwards")


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sig: str
    keyid: str = ""


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payload: str
    payload_type: str = msgspec.field(name="payloadType")
    signatures: list[_Signature]


def _verifies(key: VerificationKey, signature: bytes, data: bytes) -> bool:
    if key.algorithm != "ES256":
        return key.verifies(signature, data)
    try:
        r, s = decode_dss_signature(signature)
        return key.verifies(r.to_bytes(32) + s.to_bytes(32), data)
    except (ValueError, OverflowError):  # no DER, or numbers that are none of this curve
        return False


def in_der(raw: bytes) -> bytes:
    """An ECDSA signature in the form that openssl and cosign know, from the two numbers side by side."""
    return encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))


def _key_id(public: str) -> str:
    """The name of a key: the SHA-256 of its public half in DER."""
    loaded = load_pem_public_key(public.encode())
    return hashlib.sha256(loaded.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _decoded(text: str, name: str) -> bytes:
    """The bytes of a text in base64, of which there is one way to write them."""
    try:
        found = base64.b64decode(text, validate=True)
    except ValueError:
        found = b""
    if not found or base64.b64encode(found).decode() != text:
        raise Refused(f"{name} is no DSSE envelope: payload and signatures must be base64")
    return found
