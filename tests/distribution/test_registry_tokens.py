"""A real registry that wants tokens of a service, which gives them to whoever has a password, for what was asked."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sidecar.distribution.access import Access
from sidecar.distribution.places import source_of
from sidecar.errors import SourceUnavailable
from tests.distribution.made import look, packed, run
from tests.distribution.publishing import published
from tests.support.certificates import Issued, issued
from tests.support.registry import registry
from tests.support.scripted_http import Asked, reply, scripted

SERVICE, ISSUER = "tests-registry", "tests"
BASIC = f"Basic {base64.b64encode(b'robot:hunter2').decode()}"
PULL = "repository:team/policy:pull"


def token(known: Issued, scope: str) -> str:
    """What the registry of `known` takes, for one scope."""
    kind, name, actions = scope.split(":")
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER, "sub": "robot", "aud": SERVICE, "exp": now + 60, "nbf": now - 5, "iat": now, "jti": str(now),
        "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
    }  # fmt: skip
    der = x509.load_pem_x509_certificate(known.certificate.read_bytes()).public_bytes(Encoding.DER)
    key = load_pem_private_key(known.pair.read_bytes(), None)
    return jwt.encode(claims, key, "ES256", {"x5c": [base64.b64encode(der).decode()]})  # type: ignore[arg-type]


def test_tokens_are_asked_for_with_our_login_and_for_what_we_do(tmp_path: Path) -> None:
    known = issued(tmp_path)
    scopes: list[str] = []

    def answer(asked: Asked) -> bytes:
        [scope] = parse_qs(urlsplit(asked.target).query)["scope"]
        scopes.append(scope)
        if asked.headers.get("authorization") != BASIC:
            return reply(401)
        return reply(200, f'{{"token": "{token(known, scope)}"}}'.encode())

    with scripted(answer) as service:
        more = (
            f"auth: {{token: {{realm: '{service.url}/token', service: {SERVICE}, issuer: {ISSUER}, "
            f"rootcertbundle: {known.certificate}}}}}"
        )
        with registry(tmp_path / "registry", more) as host:
            place, login = f"oci://{host}/team/policy", Access(lambda: "robot:hunter2")
            run(published(place, packed(), login))
            [found] = look(source_of(place, login))
            assert found is not None
            assert found.data == packed()
            assert scopes == [f"{PULL},push", PULL]
            with pytest.raises(SourceUnavailable, match="gives no token"):
                look(source_of(place))
