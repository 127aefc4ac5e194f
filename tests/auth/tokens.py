"""Who may call the HTTP listener: hosts, origins, tokens. Shared here: a clock that stands still, tokens to sign."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER = "https://issuer.example.com"
AUDIENCE = "https://mcp.example.com/mcp"


@dataclass
class Clock:
    """Time that goes by only when it is told to."""

    now: float = field(default_factory=time.time)

    def __call__(self) -> float:
        return self.now


RSA = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()


def jwk(private: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    """The public key as a JWK."""
    public = private.public_key()
    kinds: list[tuple[type, Any]] = [(rsa.RSAPublicKey, RSAAlgorithm), (ec.EllipticCurvePublicKey, ECAlgorithm)]
    algorithm: Any = next((found for kind, found in kinds if isinstance(public, kind)), OKPAlgorithm)
    named = {} if kid is None else {"kid": kid}
    return {**algorithm.to_jwk(public, as_dict=True), **named, **more}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def claims(clock: Clock, **more: Any) -> dict[str, Any]:
    """What a good token says; a claim that is None is left out."""
    now = int(clock.now)
    said = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 300} | more
    return {name: value for name, value in said.items() if value is not None}


def signed(said: dict[str, Any], key: Any = RSA, algorithm: str = "RS256", **header: Any) -> str:
    return jwt.encode(said, key, algorithm, headers={"kid": "r"} | header)


def segment(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def by_hand(header: bytes, payload: bytes, key: Any = RSA) -> str:
    """A token with these very bytes and a good RS256 signature."""
    body = f"{segment(header)}.{segment(payload)}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(body.encode(), key)
    return f"{body}.{segment(signature)}"


def with_secret(header: dict[str, Any], said: dict[str, Any], secret: bytes) -> str:
    """A token signed by HS256, whatever the secret is."""
    body = f"{segment(json.dumps(header).encode())}.{segment(json.dumps(said).encode())}"
    return f"{body}.{segment(hmac.digest(secret, body.encode(), hashlib.sha256))}"
