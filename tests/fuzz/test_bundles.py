"""Targets for what a sidecar reads of a bundle: its archive, its signature, its manifest.

`make fuzz-minute` tries each for a minute.
"""

from __future__ import annotations

import gzip
import json
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.engine.sign import of_publisher, signed
from sidecar.engine.verify import verification_key, verify
from sidecar.errors import BundleRefused, StartError
from sidecar.policy.archive import MANIFEST, SIGNATURES, read, write
from sidecar.policy.bundle import FACTS
from sidecar.policy.manifest import COMMIT, read_manifest
from tests.engine.asking import bundle_of
from tests.engine.policy_keys import EC, NOON, RSA, certificate, private_pem, public_pem
from tests.fuzz.strategies import mixed, mixed_text
from tests.policy.archives import END, header, member
from tests.support.fuzzing import target

pytestmark = pytest.mark.fuzz

FILES = bundle_of("hide: [x]\n").files
SMALL = {".manifest": "{}", "intercept/custom/a.rego": "package intercept.custom\n", FACTS: '{"a": 1}'}

_TAR = gzip.decompress(write(SMALL))
_MEMBER = [
    member(b"a.rego", b"package a\n"), header(b"a.rego"), header(b"b.rego", 1), header(b"c.rego", 600), END, bytes(512),
    header(b"../d.rego"), header(b"e.rego", 0, b"2", link=b"/etc/passwd"), header(b"x", 20, b"x"), b"x" * 512,
    header(b"data.json", b"\x80" + bytes(10) + b"\1"), header(b"f.rego", prefix=b"g"), member(b"/a.rego"),
]  # fmt: skip


@target(150)
@given(mixed(_MEMBER, [_TAR, member(b"a.rego", b"x" * 700) + END]))
@example(_TAR + b"x")
def test_whatever_a_tar_is_its_files_are_as_every_reader_sees_them_or_it_is_refused(tar: bytes) -> None:
    with suppress(BundleRefused):
        files = read(gzip.compress(tar, 1))
        assert read(write(files)) == files
        # Each content stands in the tar right behind a header of that name.
        assert all(text.encode() in tar and name.rpartition("/")[2].encode() in tar for name, text in files.items())


@target(150)
@given(mixed([b"\x1f\x8b\x08\0\0\0\0\0\0\3", gzip.compress(b""), b"\0" * 9], [write(SMALL), gzip.compress(_TAR, 0)]))
@example(write(SMALL) + b"\0")
def test_whatever_an_archive_is_it_is_read_or_refused(data: bytes) -> None:
    with suppress(BundleRefused):
        assert read(data).keys() <= SMALL.keys()


_KEYS = [verification_key(public_pem(key), "k", NOON) for key in (RSA, EC)]
_GOOD = signed(SMALL, of_publisher(private_pem(RSA), "--key"))[SIGNATURES]
_TOKEN = json.loads(_GOOD)["signatures"][0]
_PARTS = [
    *_TOKEN.split("."), ".", '{"signatures":["', '"]}', "eyJhbGciOiJub25lIn0", "e30", "=", "\\n", _TOKEN, "null", ",",
]  # fmt: skip


@target(150)
@given(mixed_text(_PARTS, [_GOOD, f'{{"signatures":["{_TOKEN}"]}}']))
@example(_GOOD.replace(_TOKEN, f"{_TOKEN}="))
def test_no_signature_but_the_good_one_counts(text: str) -> None:
    try:
        verify({**SMALL, SIGNATURES: text}, _KEYS, NOON)
    except BundleRefused:
        return
    assert json.loads(text) == {"signatures": [_TOKEN]}


_WORDS = [
    '"serial": 1',
    '"serial": true',
    '"format": 2',
    '"revision": "x"',
    '"roots": [""]',
    "1e400",
    "{",
    "}",
    ",",
    '"wasm"',
]


@target(150)
@given(mixed_text(_WORDS, [FILES[MANIFEST], FILES[MANIFEST].replace(" ", "").replace("\n", "")]))
def test_whatever_a_manifest_says_it_is_refused_or_names_one_content_in_one_place(text: str) -> None:
    with suppress(BundleRefused):
        found = read_manifest({MANIFEST: text})
        said = json.loads(text)
        assert said["roots"] == ["intercept"]
        assert (said["revision"], said["metadata"]["serial"]) == (found.revision, found.serial)
        assert type(found.serial) is int
        assert found.commit == "" or COMMIT.fullmatch(found.commit)


_PEM = [public_pem(RSA), public_pem(EC), private_pem(EC), certificate(RSA, since=-1, until=1)]


@target(100)
@given(mixed_text(["-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n", "\n", "AAAA", "é"], _PEM))
@example(private_pem(RSA))
def test_whatever_a_key_is_it_verifies_or_is_refused(text: str) -> None:
    with suppress(StartError):
        key = verification_key(text, "k.pem", NOON)
        assert "PRIVATE KEY-----" not in text
        assert key.algorithm in ("RS256", "ES256")
        assert not key.verifies(b"", b"")
        assert not key.verifies(bytes(64), b"data")


@target(60)
@given(st.binary(max_size=2000), st.binary(max_size=200))
def test_no_bytes_are_a_signature(signature: bytes, data: bytes) -> None:
    assert not any(key.verifies(signature, data) for key in _KEYS)
