"""TLS on the way to a bundle: who is believed, and that a refusal is one plain line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.distribution.access import Access
from sidecar.distribution.http_source import HttpSource
from sidecar.errors import SourceUnavailable
from tests.distribution.made import look
from tests.support.certificates import issued
from tests.support.scripted_http import Asked, reply, scripted


def test_a_server_whose_certificate_is_trusted_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = issued(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))
    with scripted(lambda _: reply(200, b"bundle"), known.context) as server:
        [found] = look(HttpSource(f"{server.url}/b", Access(lambda: "t0ken")))
    assert found is not None
    assert found.data == b"bundle"


@pytest.mark.parametrize(
    ("name", "expired", "trusted", "why"),
    [
        ("localhost", True, True, "certificate has expired"),
        ("elsewhere.example", False, True, "Hostname mismatch"),
        ("localhost", False, False, "self-signed certificate"),
    ],
)
def test_any_other_sees_no_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, expired: bool, trusted: bool, why: str
) -> None:
    shown = issued(tmp_path, name, expired=expired)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(shown.certificate))
    with scripted(lambda _: reply(200, b"bundle"), shown.context) as server:
        with pytest.raises(SourceUnavailable, match=f"its TLS certificate is not accepted: .*{why}") as failed:
            look(HttpSource(f"{server.url}/b", Access(lambda: "t0ken")))
        assert "\n" not in str(failed.value)
        assert server.asked == []


def test_a_server_that_speaks_no_tls_is_one_plain_line(dav: str) -> None:
    url = dav.replace("http://", "https://")
    with pytest.raises(SourceUnavailable, match="TLS fails"):
        look(HttpSource(f"{url}/b", Access(lambda: "t0ken")))


def test_a_connection_that_is_tampered_with_is_one_plain_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = issued(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))

    def answer(asked: Asked) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
        os.write(asked.descriptor, bytes([23, 3, 3, 0, 32]) + bytes(32))  # a record that nobody encrypted

    with scripted(answer, known.context) as server, pytest.raises(SourceUnavailable, match="TLS fails"):
        look(HttpSource(f"{server.url}/b", Access()))


def test_another_port_of_the_host_sees_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may serve there, and whoever can make the first one redirect need not know what it is told."""
    known = issued(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))
    with (
        scripted(lambda _: reply(200, b"bundle"), known.context) as other,
        scripted(lambda _: reply(302, location=f"{other.url}/b"), known.context) as server,
    ):
        [found] = look(HttpSource(f"{server.url}/b", Access(lambda: "t0ken")))
        assert found is not None
        assert ["authorization" in asked.headers for asked in [*server.asked, *other.asked]] == [True, False]


def test_a_redirect_never_leads_from_tls_to_plain_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = issued(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(known.certificate))
    with (
        scripted(lambda _: reply(200, b"bundle"), host="localhost") as plain,
        scripted(lambda _: reply(302, location=f"{plain.url}/b"), known.context) as server,
    ):
        with pytest.raises(SourceUnavailable, match="which is not followed"):
            look(HttpSource(f"{server.url}/b", Access(lambda: "t0ken")))
        assert plain.asked == []
