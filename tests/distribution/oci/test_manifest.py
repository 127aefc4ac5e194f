"""Manifests: ours is the same for the same bundle, and of another's only one clear bundle is taken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.file_source import tag_of
from sidecar.distribution.oci.manifest import CONFIG, INDEX, LAYER, MANIFEST, Blob, NoManifest, bundle_in, written

DIGEST = tag_of(b"bundle")
OURS = {"mediaType": LAYER, "digest": DIGEST, "size": 6}


def manifest(*layers: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "layers": list(layers)}).encode()


def index(*manifests: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(manifests)}).encode()


def test_what_we_write_is_read_and_the_same_each_time() -> None:
    first = written(b"bundle", {"b": "2", "a": "1"})
    assert first == written(b"bundle", {"a": "1", "b": "2"})
    assert bundle_in(first) == Blob(DIGEST, 6)
    assert json.loads(first)["config"] == {"mediaType": CONFIG, "digest": tag_of(b"{}"), "size": 2}


def test_a_layer_of_another_type_is_passed_over() -> None:
    assert bundle_in(manifest({"mediaType": "text/plain", "digest": "x"}, OURS)) == Blob(DIGEST, 6)


def test_an_index_of_one_manifest_leads_to_it() -> None:
    entry = {"mediaType": MANIFEST, "digest": DIGEST, "size": 10}
    attestation = {**entry, "annotations": {"vnd.docker.reference.type": "attestation-manifest"}}
    assert bundle_in(index(attestation, entry)) == DIGEST


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no object"),
        (b"{}", "no list of layers"),
        (manifest(), "has no layers"),
        (manifest(OURS, OURS), "has 2 layers"),
        (manifest({**OURS, "digest": "md5:1"}), "SHA-256"),
        (manifest({**OURS, "digest": f"{DIGEST}/../x"}), "SHA-256"),
        (manifest({**OURS, "digest": f"{DIGEST}\n"}), "SHA-256"),
        (manifest({**OURS, "size": -1}), "without its size"),
        (manifest({**OURS, "size": True}), "without its size"),
        (manifest("text"), "no list of layers"),
        (index(), "index of 0 manifests"),
        (index({"mediaType": MANIFEST, "digest": DIGEST}, {"mediaType": MANIFEST, "digest": DIGEST}), "index of 2"),
    ],
)
def test_what_is_not_clearly_one_bundle_is_none(said: bytes, why: str) -> None:
    with pytest.raises(NoManifest, match=why):
        bundle_in(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from([LAYER, MANIFEST, INDEX, DIGEST]) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "layers", "manifests", "digest", "size", "x"]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_any_json_is_one_bundle_or_none(value: object) -> None:
    try:
        found = bundle_in(json.dumps(value).encode())
    except NoManifest:
        return
    digest = found if isinstance(found, str) else found.digest
    assert len(digest) == len(DIGEST)
