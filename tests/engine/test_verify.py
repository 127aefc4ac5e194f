"""Signatures of published bundles: what a key signed is accepted, by us and by OPA, and nothing else is."""

from __future__ import annotations

import base64
import hmac
import json
import subprocess
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.sign import of_publisher, shared, signed
from sidecar.engine.verify import VerificationKey, verification_key, verify
from sidecar.errors import BundleRefused, StartError
from sidecar.policy.archive import MAX_FILES, MAX_NAME, SIGNATURES, write
from tests.engine.policy_keys import EC, NOON, OTHER_EC, OTHER_RSA, RSA, certificate, private_pem, public_pem
from tests.engine.test_sign import GOOD, _object, pem, token_of, values, with_token
from tests.support import OPA
from tests.support.fuzzing import examples

DAY = 86400

Files = dict[str, str]

FILES = {
    ".manifest": '{"revision": "r", "roots": ["intercept"], "rego_version": 1, "metadata": {"serial": 1}}',
    "intercept/facts/data.json": '{"a": [1, 1.0, 1e2, "\\u00e4"]}',
    "intercept/policy/t.rego": "package intercept.policy\n\npasses contains 1\n",
}


def key_of(key: Any, name: str = "key.pem") -> VerificationKey:
    return verification_key(public_pem(key), name, NOON)


SIGNERS = {id(key): of_publisher(private_pem(key), "--key") for key in (RSA, EC, OTHER_RSA, OTHER_EC, GOOD)}
"""Read once: to check an RSA key takes long."""


def signed_by(key: Any, files: Files = FILES) -> Files:
    return signed(files, SIGNERS[id(key)])


def refusal(files: Files, *keys: VerificationKey, now: float = NOON) -> tuple[str, str]:
    """The kind of a refusal, and why."""
    with pytest.raises(BundleRefused) as caught:
        verify(files, keys or (key_of(RSA), key_of(EC)), now)
    return caught.value.kind, str(caught.value)


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_what_a_key_signed_is_accepted_with_any_of_several_keys(key: Any) -> None:
    files = signed_by(key)
    verify(files, [key_of(key)], NOON)
    verify(files, [key_of(OTHER_RSA), key_of(OTHER_EC), key_of(key)], NOON)


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_a_key_signs_the_same_files_alike_each_time(key: Any) -> None:
    assert signed_by(key) == signed_by(key)


def test_what_nobody_signed_is_refused_where_a_key_counts() -> None:
    assert refusal(FILES)[0] == "unsigned"


def test_what_another_key_signed_is_refused() -> None:
    for other in (OTHER_RSA, OTHER_EC):
        kind, why = refusal(signed_by(other), key_of(RSA, "a.pem"), key_of(EC, "b.pem"))
        assert kind == "signature"
        assert "none of the keys of --bundle-key signed it: a.pem, b.pem" in why


# Forgery.


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(head: Any, payload: str, sign: Callable[[bytes], bytes]) -> Files:
    data = f"{part(head)}.{payload}"
    return with_token(FILES, f"{data}.{part(sign(data.encode())) if sign(b'') else ''}")


def with_public_key(pem_text: str) -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(pem_text.encode(), data, "sha256")


PAYLOAD = token_of(signed_by(RSA))[1]
SIGN = SIGNERS[id(RSA)].sign
CLAIMS = json.loads(base64.urlsafe_b64decode(PAYLOAD + "=="))
HEAD = {"alg": "RS256", "kid": "intercept", "typ": "JWT"}


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", "", "HS256", "HS512", "RS512", "PS256", "ES256", "rs256"]
)
def test_the_key_says_which_algorithm_counts_and_not_the_signature(algorithm: str) -> None:
    head = {**HEAD, "alg": algorithm}
    for sign in (SIGN, with_public_key(public_pem(RSA)), lambda _: b"", with_public_key("")):
        assert refusal(forged(head, PAYLOAD, sign), key_of(RSA))[0] == "signature"


@pytest.mark.parametrize(
    "head",
    [
        {}, [], None, "RS256", {"alg": None}, {"alg": ["RS256"]}, {**HEAD, "crit": []}, {**HEAD, "jku": "https://x"},
        {**HEAD, "jwk": {}}, {**HEAD, "x5c": []}, {**HEAD, "typ": "JOSE"}, {**HEAD, "kid": "other"},
        {**HEAD, "kid": ["intercept"]}, {"alg": "RS256", "typ": "JWT"}, {**HEAD, "b64": False}, {**HEAD, "zip": "DEF"},
        b'{"alg":"none","alg":"RS256","kid":"intercept"}', b"\xff", b"[" * 5000, b'{"alg":"RS256","kid":NaN}',
    ],
)  # fmt: skip
def test_a_head_that_says_anything_else_is_refused_though_the_key_signed_it(head: Any) -> None:
    assert refusal(forged(head, PAYLOAD, SIGN))[0] == "signature"


@pytest.mark.parametrize(
    "claims",
    [
        {}, [], None, {**CLAIMS, "scope": "write"}, {**CLAIMS, "scope": ["intercept"]}, {**CLAIMS, "exp": 1},
        {name: said for name, said in CLAIMS.items() if name != "scope"}, {**CLAIMS, "keyid": "other"},
        {**CLAIMS, "files": {}}, {**CLAIMS, "files": None}, {**CLAIMS, "files": []},
        {**CLAIMS, "files": CLAIMS["files"][1:]}, {**CLAIMS, "files": CLAIMS["files"] * 2},
        {**CLAIMS, "files": [*CLAIMS["files"], {"name": "more.rego", "hash": "0" * 64, "algorithm": "SHA-256"}]},
        {**CLAIMS, "files": [{**file, "algorithm": "MD5"} for file in CLAIMS["files"]]},
        {**CLAIMS, "files": [{"name": file["name"], "hash": file["hash"]} for file in CLAIMS["files"]]},
        {**CLAIMS, "files": [{**file, "hash": file["hash"].upper()} for file in CLAIMS["files"]]},
        {**CLAIMS, "files": [{**file, "hash": None} for file in CLAIMS["files"]]},
        {**CLAIMS, "files": [{**file, "size": 1} for file in CLAIMS["files"]]},
        {**CLAIMS, "files": [file["name"] for file in CLAIMS["files"]]},
    ],
)  # fmt: skip
def test_claims_that_are_not_of_these_files_are_refused_though_the_key_signed_them(claims: Any) -> None:
    assert refusal(forged(HEAD, part(claims), SIGN))[0] == "signature"


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", "[]", "null", '{"signatures": []}', '{"signatures": [1]}', '{"signatures": "x"}',
        '{"signatures": [""]}',
        '{"signatures": ["a.b"]}', '{"signatures": ["a.b.c.d"]}', '{"signatures": ["a.b.\\u0000"]}', "{" * 300,
        '{"signatures": ["TOKEN", "TOKEN"]}', '{"signatures": ["TOKEN"], "plugin": "x"}',
        '{"signatures": ["TOKEN"], "signatures": ["TOKEN"]}', '{"signatures": ["TOKEN="]}',
        '{"signatures": [" TOKEN"]}',
        '{"signatures": ["TOKEN\\n"]}', '{"signatures": [["TOKEN"]]}', "[" + "1," * 1000 + "1]",
    ],
)  # fmt: skip
def test_there_is_one_signature_in_one_form(text: str) -> None:
    token = ".".join(token_of(signed_by(RSA)))
    assert refusal({**FILES, SIGNATURES: text.replace("TOKEN", token)})[0] in ("signature", "broken")


@pytest.mark.parametrize("token", ["ab." * 5_000_000, "a" * 15_000_000])
def test_what_nobody_signed_takes_little_memory_to_refuse(token: str) -> None:
    files = with_token(FILES, token)
    tracemalloc.start()
    try:
        assert refusal(files)[0] == "signature"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_longest_signature_of_a_bundle_is_accepted() -> None:
    folders = "/".join(["a" * 64, "b" * 64])
    files = {f"{folders}/{number:010}.rego": "package a" for number in range(MAX_FILES)}
    assert max(map(len, files)) > MAX_NAME - 8
    verify(signed_by(RSA, files), [key_of(RSA)], NOON)


def test_a_signature_of_nothing_is_none() -> None:
    for key, algorithm, length in ((RSA, "RS256", 256), (EC, "ES256", 64)):
        for signature in (bytes(length), b"\xff" * length, b"", b"x", bytes(length - 1)):
            head = part({**HEAD, "alg": algorithm})
            token = f"{head}.{PAYLOAD}.{part(signature)}"
            assert refusal(with_token(FILES, token), key_of(key))[0] == "signature"


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
@examples(200)
@given(st.data())
def test_no_character_of_a_signature_can_be_another(key: Any, data: st.DataObject) -> None:
    files = signed_by(key)
    token = ".".join(token_of(files))
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.=+/ ").filter(lambda letter: letter != token[at]))
    assert refusal(with_token(files, token[:at] + other + token[at + 1 :]), key_of(key))[0] == "signature"


def test_a_signature_has_one_spelling() -> None:
    token = ".".join(token_of(signed_by(RSA)))
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 256 bytes leave four bits of the last letter that say nothing.
    others = [letter for letter in letters if letters.index(letter) >> 4 == letters.index(token[-1]) >> 4]
    assert len(others) == 16
    for letter in set(others) - {token[-1]}:
        assert refusal(with_token(FILES, token[:-1] + letter)) == ("signature", "its signature is no JWT")


@examples(200)
@given(st.data())
def test_no_file_can_be_changed_added_or_taken_out(data: st.DataObject) -> None:
    files = signed_by(RSA)
    path = data.draw(st.sampled_from(sorted(FILES)))
    match data.draw(st.sampled_from(["change", "add", "take out", "rename", "swap"])):
        case "change":
            text = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
            at = data.draw(st.integers(0, len(files[path])))
            changed = {**files, path: files[path][:at] + text + files[path][at + 1 :]}
        case "add":
            changed = {**files, data.draw(st.sampled_from(["a.rego", "intercept/custom/data.json"])): files[path]}
        case "take out":
            changed = {name: text for name, text in files.items() if name != path}
        case "rename":
            changed = {name + "x" * (name == path): text for name, text in files.items()}
        case _:
            other = data.draw(st.sampled_from(sorted(FILES)))
            changed = {**files, path: files[other], other: files[path]}
    if _same(changed, files):
        verify(changed, [key_of(RSA)], NOON)
    else:
        assert refusal(changed)[0] in ("signature", "broken")


def _same(one: Files, other: Files) -> bool:
    """True where both say the same: white space and the like in JSON says nothing."""
    return {path: _said(path, text) for path, text in one.items()} == {
        path: _said(path, text) for path, text in other.items()
    }


def _said(path: str, text: str) -> Any:
    if not path.endswith(("data.json", ".manifest")):
        return text
    try:
        return json.dumps(json.loads(text, parse_int=_Token, parse_float=_Token), sort_keys=True, default=str)
    except ValueError:
        return text


class _Token:
    """A number as it is written: `1` and `1.0` are two."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return f"number {self.text}"


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 2}', '{"a": 1e999}', '{"a": "\\ud800"}', "{", "[" * 500, '{"\\u0000": 1}']
)
def test_data_that_readers_read_differently_is_refused_though_it_was_signed(text: str) -> None:
    claims = {**CLAIMS, "files": [file for file in CLAIMS["files"] if "facts" not in file["name"]]}
    claims["files"].append({"name": "intercept/facts/data.json", "hash": "0" * 64, "algorithm": "SHA-256"})
    files = forged(HEAD, part(claims), SIGN)
    assert refusal({**files, "intercept/facts/data.json": text})[0] == "broken"


# Keys.


@pytest.mark.parametrize(
    "text",
    [
        "", "a secret", public_pem(ec.generate_private_key(ec.SECP384R1())),
        public_pem(ed25519.Ed25519PrivateKey.generate()),
        public_pem(rsa.generate_private_key(65537, 1024)), public_pem(RSA) * 2, public_pem(RSA) + public_pem(EC),
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ],
)  # fmt: skip
def test_a_key_that_cannot_verify_is_refused_with_the_command_that_writes_one(text: str) -> None:
    with pytest.raises(StartError, match=r"^k\.pem must .*openssl pkey -in KEY\.pem -pubout"):
        verification_key(text, "k.pem", NOON)


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_a_private_key_is_refused_where_a_public_one_belongs(key: Any) -> None:
    for text in (private_pem(key), public_pem(key) + private_pem(key)):
        with pytest.raises(StartError, match=r"k\.pem is a private key.*-pubout") as caught:
            verification_key(text, "k.pem", NOON)
        assert text.splitlines()[1] not in str(caught.value)


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_a_certificate_counts_while_it_is_valid(key: Any) -> None:
    valid = verification_key(certificate(key, since=-1, until=1), "c.pem", NOON)
    files = signed_by(key)
    verify(files, [valid], NOON)
    assert refusal(files, valid, now=NOON + 2 * DAY) == ("signature", "the certificate c.pem expired on 2023-11-15")
    assert refusal(files, valid, now=NOON - 2 * DAY)[1] == "the certificate c.pem is valid only from 2023-11-13"
    verify(files, [valid, key_of(key)], NOON + 2 * DAY)


def test_a_certificate_that_is_not_valid_is_refused_at_the_start() -> None:
    with pytest.raises(StartError, match=r"the certificate c\.pem expired on 2023-11-13: give the key that"):
        verification_key(certificate(RSA, since=-2, until=-1), "c.pem", NOON)
    with pytest.raises(StartError, match=r"c\.pem is valid only from 2023-11-15"):
        verification_key(certificate(RSA, since=1, until=2), "c.pem", NOON)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 1024)),
        public_pem(RSA),
    ],
)
def test_a_key_that_cannot_sign_is_refused_with_the_command_that_makes_one(text: str) -> None:
    with pytest.raises(StartError, match=r"^--key must be a private key.*openssl genpkey -algorithm RSA"):
        of_publisher(text, "--key")


def test_the_secret_of_our_own_opa_is_no_key_of_a_publisher() -> None:
    assert refusal(signed(FILES, shared(public_pem(RSA))))[0] == "signature"


# OPA.


def opa_accepts(folder: Path, files: Files, key: Any, algorithm: str) -> bool:
    """Whether OPA loads a bundle that must be signed by the key."""
    (folder / "b.tar.gz").write_bytes(write(files))
    (folder / "key.pem").write_text(public_pem(key))
    command: list[str | Path] = [
        OPA, "build", "--bundle", "b.tar.gz", "--verification-key", "key.pem", "--verification-key-id", "intercept",
        "--scope", "intercept", "--signing-alg", algorithm, "--output", "out.tar.gz",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=False, text=True)
    assert done.returncode == 0 or any(word in done.stdout for word in ("signature", "digest")), done.stdout
    return done.returncode == 0


@pytest.mark.parametrize(("key", "other", "algorithm"), [(RSA, OTHER_RSA, "RS256"), (EC, OTHER_EC, "ES256")])
def test_a_plain_opa_accepts_what_we_signed(tmp_path: Path, key: Any, other: Any, algorithm: str) -> None:
    assert opa_accepts(tmp_path, signed_by(key), key, algorithm)
    assert not opa_accepts(tmp_path, signed_by(key), other, algorithm)
    assert not opa_accepts(tmp_path, {**signed_by(key), "intercept/policy/t.rego": "package x\n"}, key, algorithm)


def signed_by_opa(folder: Path, files: Files, key: Any, algorithm: str) -> Files:
    """The files as `opa sign` signs them."""
    for path, text in files.items():
        (folder / "b" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "b" / path).write_bytes(text.encode())
    (folder / "key.pem").write_text(private_pem(key))
    (folder / "claims.json").write_text('{"scope": "intercept", "keyid": "intercept"}')
    command: list[str | Path] = [OPA, "sign", "--signing-alg", algorithm, "--signing-key", "../key.pem"]
    command += ["--claims-file", "../claims.json", "--bundle", ".", "--output-file-path", ".."]
    subprocess.run(command, cwd=folder / "b", check=True, capture_output=True, timeout=60)
    return {**files, SIGNATURES: (folder / SIGNATURES).read_text()}


OPA_MANIFEST = '{"revision":"r","roots":["intercept"],"rego_version":1}'
"""One to which `opa sign` adds no default."""


@pytest.mark.fuzz
@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")], ids=["rsa", "ec"])
@examples(8)
@given(documents=st.lists(_object(values).filter(lambda text: "\\u0000" not in text), min_size=1, max_size=20))
def test_both_accept_what_the_other_signed_whatever_the_data(
    tmp_path_factory: pytest.TempPathFactory, key: Any, algorithm: str, documents: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("signed")
    files = {f"intercept/d{number}/data.json": text for number, text in enumerate(documents)}
    files[".manifest"] = OPA_MANIFEST
    verify(signed_by_opa(folder, files, key, algorithm), [key_of(key)], NOON)
    assert opa_accepts(folder, signed_by(key, files), key, algorithm)


def test_the_key_of_the_tests_of_signing_is_another() -> None:
    assert refusal(signed_by(GOOD))[0] == "signature"
