"""JWTs: each attack by itself, and the good token beside it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sidecar.auth.jwt import MAX_REMEMBERED, JwtVerifier
from sidecar.auth.principal import Principal
from sidecar.auth.refusal import NotYet, Rejected
from sidecar.errors import StartError, UsageError
from sidecar.system.watched_file import LOOK
from tests.auth.tokens import (
    AUDIENCE,
    EC,
    ED,
    ISSUER,
    OTHER_RSA,
    RSA,
    Clock,
    by_hand,
    claims,
    jwk,
    jwks,
    segment,
    signed,
    with_secret,
)

KEYS = jwks(jwk(RSA, "r"), jwk(EC, "e"), jwk(ED, "d"))
HEADER = b'{"alg":"RS256","kid":"r"}'


async def never(url: str) -> bytes:
    raise AssertionError(f"{url} was asked")


class VerifierOfFile:
    """A verifier with keys in a file, and the clock that both of its clocks are."""

    def __init__(self, folder: Path, keys: bytes = KEYS) -> None:
        self.clock = Clock()
        self.file = folder / "jwks.json"
        self.file.write_bytes(keys)
        self.verifier = JwtVerifier(str(self.file), ISSUER, AUDIENCE, never, self.clock, self.clock)

    def verify(self, token: str) -> Principal | Rejected | NotYet:
        return self.verifier.verify_at_once(token)

    def claims(self, **more: Any) -> dict[str, Any]:
        return claims(self.clock, **more)

    def accepts(self, token: str) -> bool:
        return isinstance(self.verify(token), Principal)


@pytest.fixture
def world(tmp_path: Path) -> VerifierOfFile:
    return VerifierOfFile(tmp_path)


def test_a_good_token_names_its_bearer(world: VerifierOfFile) -> None:
    said = world.claims(groups=["ops"])
    assert world.verify(signed(said)) == Principal("alice", ISSUER, said)


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_rsa_keys_verify_every_rsa_algorithm(world: VerifierOfFile, algorithm: str) -> None:
    assert world.accepts(signed(world.claims(), RSA, algorithm))


def test_elliptic_and_edwards_keys_verify(tmp_path: Path) -> None:
    curves = {"ES384": ec.generate_private_key(ec.SECP384R1()), "ES512": ec.generate_private_key(ec.SECP521R1())}
    world = VerifierOfFile(
        tmp_path, jwks(jwk(EC, "e"), jwk(ED, "d"), *(jwk(key, name) for name, key in curves.items()))
    )
    assert world.accepts(signed(world.claims(), EC, "ES256", kid="e"))
    assert world.accepts(signed(world.claims(), ED, "EdDSA", kid="d"))
    for name, key in curves.items():
        assert world.accepts(signed(world.claims(), key, name, kid=name))


# Signatures.


def test_a_token_of_another_key_with_the_same_name_is_rejected(world: VerifierOfFile) -> None:
    assert world.verify(signed(world.claims(), OTHER_RSA)) == Rejected("the token's signature is wrong")


def test_a_changed_payload_is_rejected(world: VerifierOfFile) -> None:
    header, _, signature = signed(world.claims()).split(".")
    payload = segment(json.dumps(world.claims(sub="root")).encode())
    assert not world.accepts(f"{header}.{payload}.{signature}")


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", ""])
def test_a_token_without_a_signature_is_rejected(world: VerifierOfFile, algorithm: str) -> None:
    header = segment(json.dumps({"alg": algorithm, "kid": "r"}).encode())
    payload = segment(json.dumps(world.claims()).encode())
    good = signed(world.claims()).split(".")[2]
    for signature in ("", "AA", good):
        assert not world.accepts(f"{header}.{payload}.{signature}")
    assert not world.accepts(f"{header}.{payload}")


def test_the_public_key_is_no_secret_to_sign_with(world: VerifierOfFile) -> None:
    public = RSA.public_key()
    encodings = [
        public.public_bytes(serialization.Encoding.PEM, form)
        for form in (serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1)
    ]
    for secret in (*encodings, *(pem.strip() for pem in encodings), KEYS, b"", json.dumps(jwk(RSA, "r")).encode()):
        assert not world.accepts(with_secret({"alg": "HS256", "kid": "r"}, world.claims(), secret))
        assert not world.accepts(with_secret({"alg": "RS256", "kid": "r"}, world.claims(), secret))


def test_a_shared_secret_among_the_keys_is_not_used(tmp_path: Path) -> None:
    secret = b"x" * 32
    world = VerifierOfFile(
        tmp_path, jwks({"kty": "oct", "k": segment(secret), "kid": "s", "alg": "HS256"}, jwk(RSA, "r"))
    )
    assert not world.accepts(with_secret({"alg": "HS256", "kid": "s"}, world.claims(), secret))


def test_a_key_is_used_only_as_it_says(tmp_path: Path) -> None:
    keys = [
        jwk(RSA, "alg", alg="RS512"),
        jwk(RSA, "enc", use="enc"),
        jwk(RSA, "sign", key_ops=["sign"]),
        jwk(RSA, "all", alg="RS256", use="sig", key_ops=["verify"]),
    ]
    world = VerifierOfFile(tmp_path, jwks(*keys))
    assert world.accepts(signed(world.claims(), RSA, "RS512", kid="alg"))
    assert world.accepts(signed(world.claims(), kid="all"))
    for kid in ("alg", "enc", "sign"):
        assert not world.accepts(signed(world.claims(), kid=kid))


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
def test_a_short_rsa_key_is_not_used(tmp_path: Path) -> None:
    short = rsa.generate_private_key(65537, 1024)
    world = VerifierOfFile(tmp_path, jwks(jwk(short, "short"), jwk(RSA, "r")))
    assert not world.accepts(signed(world.claims(), short, kid="short"))


def test_a_key_of_another_kind_under_the_same_name_is_not_confused(tmp_path: Path) -> None:
    world = VerifierOfFile(tmp_path, jwks(jwk(RSA, "same"), jwk(EC, "same")))
    assert world.accepts(signed(world.claims(), RSA, "RS256", kid="same"))
    assert world.accepts(signed(world.claims(), EC, "ES256", kid="same"))


def test_without_a_key_id_there_must_be_only_one_key_that_fits(tmp_path: Path) -> None:
    world = VerifierOfFile(tmp_path, jwks(jwk(RSA, "r"), jwk(OTHER_RSA, "o"), jwk(EC, "e")))
    assert not world.accepts(jwt.encode(world.claims(), RSA, "RS256"))
    assert world.accepts(jwt.encode(world.claims(), EC, "ES256"))
    twice = VerifierOfFile(tmp_path, jwks(jwk(RSA, "r"), jwk(OTHER_RSA, "r")))
    assert not twice.accepts(signed(twice.claims()))


# Headers.


@pytest.mark.parametrize("place", ["jwk", "jku", "x5u", "x5c"])
@pytest.mark.parametrize("kid", ["r", "mine"])
def test_a_key_that_a_token_brings_or_names_is_never_used(world: VerifierOfFile, place: str, kid: str) -> None:
    brought: Any = {"jwk": jwk(OTHER_RSA, kid), "x5c": ["MIIB"]}.get(place, "http://127.0.0.1:1/jwks.json")
    assert not world.accepts(signed(world.claims(), OTHER_RSA, kid=kid, **{place: brought}))


@pytest.mark.parametrize(
    "header",
    [
        {"crit": ["exp"], "exp": 1},
        {"crit": []},
        {"crit": ["b64"], "b64": True},
        {"b64": False},
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 1},
        {"kid": 1},
        {"kid": None},
        {"kid": ["r"]},
        {"alg": ["RS256"]},
        {"alg": None},
        {"alg": "rs256"},
        {"alg": "ES256K"},
    ],
)
def test_a_header_that_asks_for_anything_else_is_rejected(world: VerifierOfFile, header: dict[str, Any]) -> None:
    content = json.dumps({"alg": "RS256", "kid": "r"} | header).encode()
    assert not world.accepts(by_hand(content, json.dumps(world.claims()).encode()))


def test_a_token_made_by_hand_with_a_plain_header_is_accepted(world: VerifierOfFile) -> None:
    assert world.accepts(by_hand(HEADER, json.dumps(world.claims()).encode()))
    assert world.accepts(signed(world.claims(), typ="at+jwt"))


def test_keys_that_stand_twice_are_rejected_in_header_and_payload(world: VerifierOfFile) -> None:
    said = json.dumps(world.claims())
    for header in (b'{"alg":"none","alg":"RS256","kid":"r"}', b'{"alg":"RS256","kid":"x","kid":"r"}'):
        assert not world.accepts(by_hand(header, said.encode()))
    for payload in ('{"sub":"root",' + said[1:], said[:-1] + ',"sub":"root"}', said[:-1] + ',"a":{"b":1,"b":2}}'):
        assert not world.accepts(by_hand(HEADER, payload.encode()))


@pytest.mark.parametrize("payload", [b"", b"[]", b"null", b'"x"', b"{", b"\xff", b'{"a":NaN}', b"[" * 5_000])
def test_a_payload_that_is_no_object_is_rejected(world: VerifierOfFile, payload: bytes) -> None:
    assert not world.accepts(by_hand(HEADER, payload))


@pytest.mark.parametrize(
    "token", ["", ".", "..", "a.b.c", "a.b", "a.b.c.d", "é.b.c", "a.b.c=", " a.b.c", "eyJ9.e30.AA"]
)
def test_what_is_no_token_is_rejected(world: VerifierOfFile, token: str) -> None:
    assert not world.accepts(token)


def test_spellings_that_base64_readers_overlook_are_rejected(world: VerifierOfFile) -> None:
    token = signed(world.claims())
    header, payload, signature = token.split(".")
    for other in (
        f"{token}=",
        f"{token}\n",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload[:9]} {payload[9:]}.x",
    ):
        assert not world.accepts(other)


def test_a_token_above_the_bound_is_rejected(world: VerifierOfFile) -> None:
    assert not world.accepts(signed(world.claims(filler="x" * (16 << 10))))


# Claims.


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("iss", None), ("iss", "https://issuer.example.com/"), ("iss", [ISSUER]), ("iss", ""),
        ("aud", None), ("aud", ""), ("aud", "other"), ("aud", ["other"]), ("aud", []), ("aud", [AUDIENCE, 1]),
        ("aud", {AUDIENCE: 1}), ("aud", AUDIENCE + "/"), ("aud", AUDIENCE.upper()), ("aud", "x" + AUDIENCE),
        ("sub", None), ("sub", ""), ("sub", 1), ("sub", ["alice"]), ("sub", "x" * 257),
        ("exp", None), ("exp", "9999999999"), ("exp", True), ("exp", [1]),
        ("iat", None), ("iat", "1"), ("iat", {}), ("nbf", "1"), ("nbf", False),
    ],
)  # fmt: skip
def test_a_claim_that_is_missing_or_wrong_is_rejected(world: VerifierOfFile, claim: str, value: Any) -> None:
    said = world.claims() | {claim: value}
    if value is None:
        del said[claim]
    # By hand: PyJWT itself refuses to write some of these.
    assert not world.accepts(by_hand(HEADER, json.dumps(said).encode()))


def test_one_of_several_audiences_may_be_ours(world: VerifierOfFile) -> None:
    assert world.accepts(signed(world.claims(aud=["other", AUDIENCE])))


def test_a_token_that_expired_or_is_not_valid_yet_is_rejected_but_for_the_leeway(world: VerifierOfFile) -> None:
    now = int(world.clock.now)
    world.clock.now = float(now)
    good: list[dict[str, Any]] = [
        {"exp": now - 29},
        {"nbf": now + 30},
        {"iat": now + 30},
        {"exp": now + 0.5},
        {"iat": now - 10**8},
    ]
    bad = [{"exp": now - 30}, {"exp": 0}, {"exp": -1}, {"nbf": now + 31}, {"iat": now + 31}]
    assert [world.accepts(signed(world.claims(**said))) for said in good] == [True] * len(good)
    assert [world.accepts(signed(world.claims(**said))) for said in bad] == [False] * len(bad)


def test_times_beyond_every_number_are_rejected(world: VerifierOfFile) -> None:
    said = json.dumps(world.claims(exp=None))[:-1]
    for exp in ("1e400", "1e399", "-1e399", "9" * 399):
        assert not world.accepts(by_hand(HEADER, f'{said},"exp":{exp}}}'.encode()))


# What is remembered.


def test_the_signature_of_a_token_is_verified_once_and_its_times_at_every_look(
    world: VerifierOfFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    verified: list[str] = []
    real = jwt.PyJWS.decode_complete

    def counted(self: jwt.PyJWS, token: str, *args: Any, **more: Any) -> dict[str, Any]:
        verified.append(token)
        return real(self, token, *args, **more)

    monkeypatch.setattr(jwt.PyJWS, "decode_complete", counted)
    token = signed(world.claims())
    # Within its time, within the leeway after it, beyond that, and before it: the clock was set back.
    for seconds, holds in ((0, True), (1, True), (300, True), (330, False), (329, True), (-31, False), (0, True)):
        now, world.clock.now = world.clock.now, world.clock.now + seconds
        assert world.accepts(token) is holds
        world.clock.now = now
    assert len(verified) == 1


def test_a_remembered_token_ends_with_the_keys_that_verified_it(world: VerifierOfFile) -> None:
    token = signed(world.claims())
    assert world.accepts(token)
    world.file.write_bytes(jwks(jwk(OTHER_RSA, "r")))
    world.clock.now += LOOK
    assert not world.accepts(token)
    assert world.accepts(signed(world.claims(), OTHER_RSA))


def test_a_bounded_number_of_tokens_is_remembered(world: VerifierOfFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.auth.jwt.MAX_REMEMBERED", 3)
    for number in range(10):
        assert world.accepts(signed(world.claims(jti=str(number)), EC, "ES256", kid="e"))
    assert len(world.verifier._cache._verified) == 3
    assert MAX_REMEMBERED <= 10_000


# Where keys come from.


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{}", b"[]", b'{"keys":{}}', b'{"keys":[]}', b'{"keys":[1,null,{}]}',
        b'{"keys":[{"kty":"RSA","kid":"r"}]}',
        b'{"keys":[],"keys":[]}', b'{"keys":[{"kty":"RSA","n":1,"e":[]}]}', b'{"keys":[{"kty":"EC","crv":"P-256"}]}',
        b'{"keys":[{"kty":["RSA"]}]}', jwks(*[jwk(RSA, "r")] * 101), KEYS + b" " * (1 << 20),
    ],
)  # fmt: skip
def test_a_file_without_usable_keys_stops_the_start(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(StartError, match="--jwt-jwks: "):
        asyncio.run(VerifierOfFile(tmp_path, content).verifier.start())


def test_a_good_file_starts(world: VerifierOfFile) -> None:
    asyncio.run(world.verifier.start())
    assert world.accepts(signed(world.claims()))


def test_without_a_usable_file_no_token_is_valid_and_it_is_said_once(
    world: VerifierOfFile, caplog: pytest.LogCaptureFixture
) -> None:
    token = signed(world.claims())
    assert world.accepts(token)
    for content in (b"", b"{}"):
        world.file.write_bytes(content)
        caplog.clear()
        for _ in range(3):
            world.clock.now += LOOK
            assert not world.accepts(token)
        assert len(caplog.records) == 1
    world.file.write_bytes(KEYS)
    world.clock.now += LOOK
    assert world.accepts(token)


def test_a_published_private_key_verifies_by_its_public_part(tmp_path: Path) -> None:
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA)) | {"kid": "r"}
    private.pop("key_ops")
    world = VerifierOfFile(tmp_path, jwks(private))
    assert world.accepts(signed(world.claims()))


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example.com/keys", "http://localhost.evil.example/", "ftp://localhost/", "file:///keys", "https://",
        "https://user:pass@issuer.example.com/", "http://localhost@evil.example/", "https://a.example/\n", "https://[::1/",
        "https://ä.example/", "https://a.example:99999/",
    ],
)  # fmt: skip
def test_keys_are_fetched_from_safe_urls_only(url: str) -> None:
    with pytest.raises(UsageError, match="--jwt-jwks must be a path or an https:// URL") as caught:
        JwtVerifier(url, ISSUER, AUDIENCE, never)
    assert "pass" not in str(caught.value).replace("password", "")


def test_issuer_and_audience_have_to_be_said() -> None:
    for issuer, audience in (("", AUDIENCE), (ISSUER, "")):
        with pytest.raises(UsageError, match="--jwt-issuer and --jwt-audience"):
            JwtVerifier("https://a.example/", issuer, audience, never)


@pytest.mark.parametrize(
    "url", ["https://issuer.example.com/keys", "http://127.0.0.1:8/", "http://[::1]/", "http://localhost/"]
)
def test_https_and_loopback_are_safe(url: str) -> None:
    JwtVerifier(url, ISSUER, AUDIENCE, never)
