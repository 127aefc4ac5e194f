"""Signatures of bundles: the hashes are those that OPA makes, and OPA takes nothing else into force."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.bundle_server import BundleServer, Packed
from sidecar.engine.sign import private, shared, signed
from sidecar.engine.verify import verification_key
from sidecar.errors import StartError
from sidecar.policy.archive import SIGNATURES
from sidecar.policy.bundle import STAMP
from tests.engine.asking import bundle_of, soon
from tests.engine.policy_keys import only_at_random
from tests.engine.test_engine import ALLOWED, BUNDLE, REFUSED, running
from tests.policy.archives import packed
from tests.support import OPA
from tests.support.fuzzing import examples

OPEN = bundle_of("default: allow\n")
"""What an attacker would like to be in force; it allows everything that `BUNDLE` refuses."""

Files = dict[str, str]

# Hashes.

numbers = st.one_of(
    st.integers().map(str),
    st.sampled_from(["-0", "0.0", "-0.0", "1.50", "1e5", "1E+2", "0.00000000012", "12345678901234567890123.4500"]),
    st.decimals(allow_nan=False, allow_infinity=False, places=12).map(lambda number: f"{number:f}"),
)
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    ["\u2028\u2029", "<>&", "\x00\x08\x0c\x1f\x7f", '"\\/', "\U0001f600", "\ud7ff\ue000\uffff"]
)
spelt = st.builds(lambda text, plain: json.dumps(text, ensure_ascii=plain), texts, st.booleans())
"""Texts as they may stand in a file: with escapes or without."""


def _object(members: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.lists(st.tuples(texts, members), max_size=4, unique_by=lambda pair: pair[0])
    return pairs.map(lambda found: "{ " + ",\n".join(f"{json.dumps(key)} : {value}" for key, value in found) + "}")


values = st.recursive(
    st.sampled_from(["true", "false", "null", "[]"]) | numbers | spelt,
    lambda inner: st.lists(inner, max_size=4).map(lambda found: f"[{' , '.join(found)}]") | _object(inner),
    max_leaves=12,
)


def hashes(files: Files) -> dict[str, str]:
    """What a signature says of each file."""
    return read_hashes(json.loads(signed(files, shared("s"))[SIGNATURES]))


def read_hashes(signatures: dict[str, list[str]]) -> dict[str, str]:
    (token,) = signatures["signatures"]
    payload = token.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return {file["name"]: file["hash"] for file in claims["files"]}


def hashes_of_opa(files: Files) -> dict[str, str]:
    """What `opa sign` says of each file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path, text in files.items():
            (folder / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "bundle" / path).write_bytes(text.encode())
        command: list[str | Path] = [OPA, "sign", "--signing-alg", "HS256", "--signing-key", "s", "--bundle", "."]
        subprocess.run(
            [*command, "--output-file-path", ".."], cwd=folder / "bundle", check=True, capture_output=True, timeout=60
        )
        return read_hashes(json.loads((folder / SIGNATURES).read_text()))


@pytest.mark.fuzz
@examples(15)
@given(st.lists(_object(values), min_size=1, max_size=20))
def test_a_file_of_data_has_the_hash_that_opa_makes_of_it(documents: list[str]) -> None:
    files = {f"d{number}/data.json": text for number, text in enumerate(documents)}
    assert hashes(files) == hashes_of_opa(files)


def test_a_whole_bundle_has_the_hashes_that_opa_makes_of_it() -> None:
    ours, opas = hashes(BUNDLE.files), hashes_of_opa(BUNDLE.files)
    # `opa sign` adds a default to the manifest before it hashes it; OPA verifies what stands in the file.
    assert ours.pop(".manifest") is not None
    opas.pop(".manifest")
    assert ours == opas


# What comes into force.


def publish(service: BundleServer, files: Files) -> None:
    """Serve files as somebody would who has the port and the token, but not the key."""
    service.publish(Packed(packed(files), '"another"'))


def token_of(files: Files) -> list[str]:
    """The three parts of the signature."""
    found: str = json.loads(files[SIGNATURES])["signatures"][0]
    return found.split(".")


def with_token(files: Files, *tokens: str) -> Files:
    return {**files, SIGNATURES: json.dumps({"signatures": list(tokens)})}


def encoded(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def unsigned(good: Files) -> Files:
    return dict(OPEN.files)


def signed_with_another_key(good: Files) -> Files:
    return signed(OPEN.files, shared("another secret"))


def signed_with_nothing(good: Files) -> Files:
    head, payload, _ = token_of(signed(OPEN.files, shared("")))
    return with_token(OPEN.files, f"{encoded({'alg': 'none', 'kid': 'intercept'})}.{payload}.", f"{head}.{payload}.")


def without_an_algorithm(good: Files) -> Files:
    _, payload, _ = token_of(signed(OPEN.files, shared("")))
    return with_token(OPEN.files, f"{encoded({'alg': 'none', 'kid': 'intercept'})}.{payload}.")


def with_the_good_signature(good: Files) -> Files:
    return {**OPEN.files, SIGNATURES: good[SIGNATURES]}


def changed_in_one_place(good: Files) -> Files:
    (path,) = [path for path in good if path.endswith("/t.rego")]
    assert "5" in good[path]
    return {**good, path: good[path].replace("5", "6")}


def with_a_file_more(good: Files) -> Files:
    return {**good, "intercept/more.rego": 'package intercept.policy\n\npasses contains "t#1"\n'}


def with_a_file_less(good: Files) -> Files:
    return {path: text for path, text in good.items() if not path.endswith("/t.rego")}


def with_changed_data(good: Files) -> Files:
    path = "intercept/facts/data.json"
    return {**good, path: json.dumps(json.loads(good[path]) | {"tools": {}, "any_tool": [], "default": "allow"})}


def a_delta(good: Files) -> Files:
    patch = {"data": [{"op": "upsert", "path": "/intercept/facts/tools", "value": {}}]}
    return {".manifest": good[".manifest"], "patch.json": json.dumps(patch)}


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with_another_key,
        signed_with_nothing,
        without_an_algorithm,
        with_the_good_signature,
        changed_in_one_place,
        with_a_file_more,
        with_a_file_less,
        with_changed_data,
        a_delta,
    ],
)
def test_opa_does_not_take_what_we_did_not_sign(forge: Callable[[Files], Files]) -> None:
    async def test() -> None:
        async with running(remember=False) as world:
            service = world.local.service
            assert await world.asks(REFUSED) == "deny"
            publish(service, forge(signed(BUNDLE.files, service._key)))
            await soon(lambda: world.said)
            assert "Bundle load failed" in world.said[0]
            assert await world.asks(REFUSED) == "deny"
            assert await world.asks(ALLOWED) == "allow"
            assert world.engine.ready

    uvloop.run(test())


def test_opa_takes_an_older_bundle_of_ours_and_then_no_call_passes() -> None:
    async def test() -> None:
        async with running(remember=False) as world:
            older = {path: text for path, text in OPEN.files.items() if path != STAMP}
            older[STAMP] = json.dumps({"revision": OPEN.revision, "serial": 0})
            publish(world.local.service, signed(older, world.local.service._key))
            await soon(lambda: world.engine.trouble)
            assert await world.asks(REFUSED) == "revision"
            assert await world.asks(ALLOWED) == "revision"
            assert world.engine.trouble == "the policy engine answered by another policy than the one in force"

    uvloop.run(test())


# Keys.


def pem(key: Any, encryption: KeySerializationEncryption | None = None) -> str:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())).decode()


GOOD = ec.generate_private_key(ec.SECP256R1())


def test_a_private_key_signs_as_its_algorithm_says() -> None:
    key = private(pem(GOOD))
    assert key.algorithm == "ES256"
    assert len(key.sign(b"data")) == 64


def test_a_key_on_a_curve_signs_as_rfc_6979_says_so_the_same_bytes_are_signed_alike() -> None:
    secret = 0xC9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721  # RFC 6979, A.2.5
    key = private(pem(ec.derive_private_key(secret, ec.SECP256R1())))
    assert key.repeats
    assert key.sign(b"sample").hex().upper() == (
        "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
        "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
    )


def test_where_openssl_cannot_repeat_a_signature_the_key_says_so_and_signs_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    only_at_random(monkeypatch)
    key = private(pem(GOOD))
    assert not key.repeats
    first, second = key.sign(b"data"), key.sign(b"data")
    assert first != second
    public = verification_key(key.public, "k", 0.0)
    assert public.verifies(first, b"data")
    assert public.verifies(second, b"data")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a secret of some kind",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1())),
        pem(rsa.generate_private_key(65537, 2048)),
        pem(ed25519.Ed25519PrivateKey.generate()),
        pem(GOOD, BestAvailableEncryption(b"password")),
    ],
    ids=["empty", "text", "damaged", "p384", "rsa", "ed25519", "encrypted"],
)
def test_another_key_is_refused_with_the_command_that_makes_a_good_one(text: str) -> None:
    with pytest.raises(StartError, match=r"curve P-256.*openssl genpkey") as caught:
        private(text)
    assert not text or text not in str(caught.value)


def test_a_key_does_not_show_itself() -> None:
    assert "s3cret" not in repr(shared("s3cret"))
    assert str(GOOD.private_numbers().private_value) not in repr(private(pem(GOOD)))
