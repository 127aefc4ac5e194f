"""How places for bundles are written: what each text means, what none can mean, and that no secret is repeated."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.access import Access
from sidecar.distribution.file_source import FileSource
from sidecar.distribution.http_source import HttpSource
from sidecar.distribution.oci.source import OciSource
from sidecar.distribution.places import place_of, source_of
from sidecar.distribution.writable import destination_of
from sidecar.errors import UsageError

KNOWN = Access(lambda: "secret-token")


@pytest.mark.parametrize(
    ("text", "kind", "name"),
    [
        ("bundle.tar.gz", FileSource, "bundle.tar.gz"),
        ("/srv/policy", FileSource, "/srv/policy"),
        ("file:///srv/policy", FileSource, "/srv/policy"),
        ("https://example.com/b.tar.gz?sig=secret", HttpSource, "https://example.com/b.tar.gz"),
        ("http://127.0.0.1:8000/b", HttpSource, "http://127.0.0.1:8000/b"),
        ("oci://ghcr.io/acme/policy", OciSource, "oci://ghcr.io/acme/policy:latest"),
        ("oci://localhost:5000/policy:prod", OciSource, "oci://localhost:5000/policy:prod"),
        (f"oci://ghcr.io/acme/policy@sha256:{'0' * 64}", OciSource, f"oci://ghcr.io/acme/policy@sha256:{'0' * 64}"),
    ],
)
def test_a_text_names_a_source(text: str, kind: type, name: str) -> None:
    source = source_of(text)
    assert isinstance(source, kind)
    assert source.name == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ftp://example.com/b",
        "s3://bucket/b",
        "http://",
        "https://exa mple.com/b",
        "https://example.com/b#part",
        "oci://ghcr.io",
        "oci://ghcr.io/",
        "oci://ghcr.io/Upper",
        "oci://ghcr.io/a/../b",
        "oci://ghcr.io/policy:",
        "oci://ghcr.io/policy:a tag",
        "oci://ghcr.io/policy@sha256:12",
        "oci://gh?cr.io/policy",
        "oci:///policy",
    ],
)
def test_a_text_that_names_none_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError):
        source_of(text)


@pytest.mark.parametrize("scheme", ["http", "https", "oci"])
def test_a_login_in_a_url_is_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(UsageError) as refused:
        source_of(f"{scheme}://name:hunter2@example.com/b")
    assert "hunter2" not in str(refused.value)


def test_a_token_goes_nowhere_where_it_could_be_read_on_the_way() -> None:
    with pytest.raises(UsageError, match="readable on the way"):
        place_of("http://example.com/b", KNOWN)
    place_of("https://example.com/b", KNOWN)
    place_of("http://127.0.0.1/b", KNOWN)
    assert place_of("oci://example.com/b", KNOWN).base.startswith("https://")  # type: ignore[union-attr]


SCHEMES = st.sampled_from(["http", "https", "oci", "file"])


@given(st.text() | st.builds("{}://{}/{}".format, SCHEMES, st.text(), st.text()))
def test_any_text_is_a_place_or_wrong_usage(text: str) -> None:
    with suppress(UsageError):
        place_of(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("new.tar.gz", "is a file"),
        ("https://example.com/policy/", "names no file"),
        ("https://example.com/policy/?sig=a", "names no file"),
        ("https://example.com", "names no file"),
        ("http://127.0.0.1:8080?sig=a", "names no file"),
        (f"oci://ghcr.io/policy@sha256:{'0' * 64}", "for ever"),
        ("oci://ghcr.io/policy:serial-7", "given once"),
    ],
)
def test_bundles_are_not_published_to_what_cannot_hold_them(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        destination_of(text)


def test_bundles_are_not_published_over_a_file(tmp_path: Path) -> None:
    (tmp_path / "kept").write_bytes(b"something")
    with pytest.raises(UsageError, match="is a file"):
        destination_of(str(tmp_path / "kept"))
