"""Old content under a new serial: only what was signed by a known key is signed again."""

from __future__ import annotations

import pytest

from sidecar.distribution.label import label
from sidecar.distribution.rollback import rolled_back
from sidecar.engine.sign import of_publisher, signed
from sidecar.engine.verify import read_key, verify
from sidecar.errors import BundleRefused, UsageError
from sidecar.policy import archive
from tests.distribution.made import packed
from tests.engine.policy_keys import EC, NOON, OTHER_RSA, RSA, private_pem, public_pem

OLD = packed("default: deny\n", 3)
KEY = private_pem(RSA)


def by(key: object, data: bytes = OLD) -> bytes:
    """The bundle, signed."""
    return archive.write(signed(archive.read(data), of_publisher(private_pem(key), "a key")))


def test_what_we_signed_is_signed_again_under_the_new_serial() -> None:
    again = rolled_back(by(RSA), 9, KEY, [], NOON)
    verify(archive.read(again), [read_key(public_pem(RSA), "k")], NOON)
    before, after = label(by(RSA)), label(again)
    assert (after.serial, after.revision, after.commit) == (9, before.revision, before.commit)
    assert again == rolled_back(by(RSA), 9, KEY, [], NOON)


def test_what_an_older_key_signed_needs_that_key_to_be_named() -> None:
    with pytest.raises(BundleRefused, match="none of the keys"):
        rolled_back(by(OTHER_RSA), 9, KEY, [], NOON)
    older = [read_key(public_pem(OTHER_RSA), "older.pem")]
    verify(
        archive.read(rolled_back(by(OTHER_RSA), 9, KEY, older, NOON)),
        [read_key(public_pem(RSA), "k")],
        NOON,
    )


def test_a_stranger_does_not_get_his_bundle_signed() -> None:
    """He can write where bundles are kept, and waits for a rollback."""
    files = archive.read(by(RSA))
    evil = archive.read(packed("default: allow\n", 3)) | {archive.SIGNATURES: files[archive.SIGNATURES]}
    for planted in (archive.write(evil), by(EC, packed("default: allow\n", 3)), packed("default: allow\n", 3)):
        with pytest.raises(BundleRefused) as refused:
            rolled_back(planted, 9, KEY, [], NOON)
        assert refused.value.kind in ("signature", "unsigned")


def test_what_was_signed_stays_so() -> None:
    with pytest.raises(UsageError, match="give --key"):
        rolled_back(by(RSA), 9, "", [], NOON)
    assert not label(rolled_back(OLD, 9, "", [], NOON)).signed
