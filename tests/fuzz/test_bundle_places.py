"""A target for each reader of what registries and servers say about bundles, and of where bundles are."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given

from sidecar.distribution.oci.login import token_service
from sidecar.distribution.oci.manifest import INDEX, LAYER, MANIFEST, NoManifest, bundle_in, written
from sidecar.distribution.oci.reference import DIGEST, OciReference
from sidecar.distribution.places import place_of
from sidecar.distribution.web import Reply, next_hop
from sidecar.errors import SourceUnavailable, UsageError
from sidecar.http import origin
from sidecar.http.origin import Origin
from tests.fuzz.strategies import mixed, mixed_text
from tests.support.fuzzing import target

pytestmark = pytest.mark.fuzz

HEX = "0" * 64
_MANIFEST = [
    b"{", b"}", b"[", b"]", b",", b":", b'"layers":', b'"manifests":', b'"mediaType":', f'"{LAYER}"'.encode(),
    f'"{MANIFEST}"'.encode(), f'"{INDEX}"'.encode(), b'"digest":', f'"sha256:{HEX}"'.encode(), b'"size":', b"6",
    b"-1", b"1e9", b"null", b"true", b"NaN",
]  # fmt: skip
_INDEX = json.dumps({"mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": f"sha256:{HEX}", "size": 6}]})


@target(100)
@given(mixed(_MANIFEST, [written(b"bundle", {"a": "b"}), _INDEX.encode()]))
@example(b"[" * 100_000)
@example(b'{"layers":' * 5000)
def test_a_manifest_names_a_content_by_its_digest_or_is_none(data: bytes) -> None:
    try:
        found = bundle_in(data)
    except NoManifest as error:
        assert "\n" not in str(error)  # noqa: PT017 - that it is refused is no failure
        return
    assert DIGEST.fullmatch(found if isinstance(found, str) else found.digest)
    assert isinstance(found, str) or found.size >= 0


_CHALLENGE = [
    "Bearer ", "Basic ", 'realm="', "https://", "http://", "127.0.0.1", "registry.example.com", "auth.example.com",
    "evil.example", "/token", '"', ",", 'service="s"', 'scope="repository:x:push"', "@", ":", "?", "#", "\\",
]  # fmt: skip
_CHALLENGES = [
    'Bearer realm="https://auth.example.com/token",service="registry.example.com",scope="repository:a:pull"',
    'Basic realm="x", Bearer realm="https://registry.example.com.evil.example/token"',
    'Bearer realm="https://auth.example.com@evil.example/token"',
    'Bearer realm="https://evil.example\\@auth.example.com/token"',
]


@target(100)
@given(mixed_text(_CHALLENGE, _CHALLENGES))
def test_whatever_a_registry_asks_our_login_goes_to_its_own_domain_by_tls(challenge: str) -> None:
    try:
        found = token_service(challenge, Origin(True, "registry.example.com", 443), "repository:acme:pull")
    except ValueError:
        return
    if found is None:
        return
    place, query = origin.parse(found.url)
    assert place.secure
    assert query.endswith("scope=repository%3Aacme%3Apull")
    if found.sees_login:
        assert place.host == "example.com" or place.host.endswith(".example.com")


_LOCATION = [
    "https://", "http://", "//", "/", "..", "?", "#", "@", ":", "[", "]", "\\", "%2f", "example.com", "evil.example",
    "169.254.169.254", "file:", "\t", " ",
]  # fmt: skip
_LOCATIONS = ["https://example.com/there", "/there?a=b", "//evil.example/x", "https://example.com@evil.example/"]


@target(100)
@given(mixed_text(_LOCATION, _LOCATIONS))
def test_wherever_a_redirect_leads_it_is_followed_on_its_host_only_and_by_tls(location: str) -> None:
    reply = Reply(302, {"location": location}, b"", "https://example.com/b.tar.gz")
    try:
        url = next_hop(reply, "the source")
    except SourceUnavailable:
        return
    place, _ = origin.parse(url)
    assert (place.secure, place.host) == (True, "example.com")


_PLACE = [
    "oci://", "https://", "http://", "file://", "ghcr.io", "127.0.0.1", "[::1]", ":5000", "/acme/policy", ":latest",
    "@sha256:", HEX, "?", "#", "@", "user:secret@", "..", "\0",
]  # fmt: skip
_PLACES = [f"oci://ghcr.io/acme/policy@sha256:{HEX}", "oci://[::1]:5000/policy:prod", "https://example.com/b?sig=x"]


@target(100)
@given(mixed_text(_PLACE, _PLACES))
def test_a_place_is_read_as_it_is_written_again(text: str) -> None:
    try:
        place = place_of(text)
    except UsageError:
        return
    if isinstance(place, OciReference):
        assert place_of(str(place)) == place
        assert origin.parse(place.base)[0] == place.registry
