"""The Authorization header: who it says calls, and what is answered when it says nothing that counts."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.auth.authenticator import Authenticator, authenticator
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NO_KEYS, NotYet, Refusal, Rejected
from tests.auth.tokens import AUDIENCE, ISSUER, RSA, Clock, claims, jwk, jwks, signed

HOLDER = Principal("token")


async def never(url: str) -> bytes:
    raise AssertionError(f"{url} was asked")


class Waiting:
    """A verifier that has an answer only later."""

    def __init__(self, later: Principal | Rejected) -> None:
        self.later = later

    def verify_at_once(self, token: str) -> Principal | Rejected | NotYet:
        return NotYet.NOT_YET

    async def verify(self, token: str) -> Principal | Rejected:
        return self.later

    async def start(self) -> None: ...

    async def close(self) -> None: ...


@pytest.fixture
def by_token(tmp_path: Path) -> Authenticator:
    (tmp_path / "tokens").write_text("secret-one\na.b.c\n")
    return authenticator(tmp_path / "tokens", None, "", "", never)


@pytest.fixture
def by_both(tmp_path: Path) -> Authenticator:
    (tmp_path / "tokens").write_text("secret-one\na.b.c\n")
    (tmp_path / "jwks").write_bytes(jwks(jwk(RSA, "r")))
    return authenticator(tmp_path / "tokens", str(tmp_path / "jwks"), ISSUER, AUDIENCE, never)


def asked(who: Authenticator, *authorization: str) -> Principal | None | Refusal:
    """The answer, which must be the same at once and later."""
    found = asyncio.run(who.authenticate(authorization))
    assert who.authenticate_at_once(authorization) == found
    return found


def challenge(refusal: Principal | None | Refusal) -> tuple[int, str]:
    assert isinstance(refusal, Refusal)
    return refusal.status, dict(refusal.headers)["WWW-Authenticate"]


@pytest.mark.parametrize("authorization", [(), ("Bearer x",), ("Basic x",), ("Bearer x", "Bearer y")])
def test_where_nothing_is_asked_for_nobody_is_authenticated(authorization: tuple[str, ...]) -> None:
    assert asked(Authenticator(), *authorization) is None
    assert not Authenticator().knows_callers


@pytest.mark.parametrize(
    "value", ["Bearer secret-one", "bearer secret-one", "BEARER secret-one", "Bearer   secret-one"]
)
def test_the_scheme_is_read_without_regard_to_case(by_token: Authenticator, value: str) -> None:
    assert asked(by_token, value) == HOLDER
    assert by_token.knows_callers


@pytest.mark.parametrize("authorization", [(), ("",), ("Bearer",), ("Bearer ",), ("Basic c2VjcmV0",), ("secret-one",)])
def test_without_a_token_the_challenge_names_no_error(by_token: Authenticator, authorization: tuple[str, ...]) -> None:
    assert challenge(asked(by_token, *authorization)) == (401, 'Bearer realm="intercept-sidecar"')


@pytest.mark.parametrize(
    "value",
    [
        "Bearer wrong", "Bearer Secret-one", "Bearer secret-one ", "Bearer\tsecret-one", "Bearer \tsecret-one",
        "Bearer secret-one,Bearer secret-one", "Bearer secret-one\x00", "Bearer sécret", "Bearer secret-one secret-one",
        'Bearer "secret-one"', "Bearer token=secret-one", "Bearer " + "x" * 100_000,
    ],
)  # fmt: skip
def test_a_wrong_token_is_an_invalid_one(by_token: Authenticator, value: str) -> None:
    status, header = challenge(asked(by_token, value))
    assert status == 401
    assert header.startswith('Bearer realm="intercept-sidecar", error="invalid_token"')
    assert "secret" not in header


def test_two_authorization_headers_are_refused_even_when_both_are_good(by_token: Authenticator) -> None:
    status, header = challenge(asked(by_token, "Bearer secret-one", "Bearer secret-one"))
    assert (status, header) == (400, 'Bearer realm="intercept-sidecar", error="invalid_request"')


def test_a_static_token_comes_before_a_jwt_and_either_is_enough(by_both: Authenticator) -> None:
    said = claims(Clock())
    assert asked(by_both, "Bearer secret-one") == asked(by_both, "Bearer a.b.c") == HOLDER
    assert asked(by_both, f"Bearer {signed(said)}") == Principal("alice", ISSUER, said)
    assert challenge(asked(by_both, "Bearer wrong"))[0] == 401


def test_the_challenge_says_why_a_jwt_is_invalid_and_nothing_of_it(by_both: Authenticator) -> None:
    _, header = challenge(asked(by_both, f"Bearer {signed(claims(Clock(), aud='their-audience'))}"))
    assert header.endswith('error="invalid_token", error_description="the token is for another audience"')


def test_where_keys_have_to_be_waited_for_the_answer_comes_later() -> None:
    bob = Principal("bob", ISSUER)
    who = Authenticator(verifier=Waiting(bob))
    assert who.authenticate_at_once(["Bearer x"]) is NotYet.NOT_YET
    assert asyncio.run(who.authenticate(["Bearer x"])) == bob
    refused = asyncio.run(Authenticator(verifier=Waiting(Rejected("no"))).authenticate(["Bearer x"]))
    assert challenge(refused)[0] == 401


def test_a_failure_of_ours_is_not_told_as_a_wrong_token() -> None:
    refused = asyncio.run(Authenticator(verifier=Waiting(NO_KEYS)).authenticate(["Bearer x"]))
    assert isinstance(refused, Refusal)
    assert refused.status == 503


def test_without_jwts_nothing_of_cryptography_is_loaded() -> None:
    program = "import sys, sidecar.auth.authenticator; sys.exit('jwt' in sys.modules or 'cryptography' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
