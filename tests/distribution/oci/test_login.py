"""How a registry asks who we are, and who is told: never a stranger that it names."""

from __future__ import annotations

import base64
import json
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution.oci.docker_login import login
from sidecar.distribution.oci.login import token_service, wants_basic
from sidecar.errors import SourceUnavailable
from sidecar.http.origin import Origin

SCOPE = "repository:acme/policy:pull"


def registry(host: str) -> Origin:
    return Origin(True, host, 443)


@pytest.mark.parametrize(
    ("host", "realm", "told"),
    [
        ("ghcr.io", "https://ghcr.io/token", True),
        ("registry-1.docker.io", "https://auth.docker.io/token", True),
        ("registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("registry.example.com", "https://login.example.com:8443/token", True),
        ("ghcr.io", "https://evil.io/token", False),
        ("ghcr.io", "https://ghcr.io.evil.com/token", False),
        ("registry.example.com", "https://example.com.evil.net/token", False),
        ("registry.example.com", "https://notexample.com/token", False),
        ("registry.com", "https://another.com/token", False),
        ("10.0.0.1", "https://10.0.0.2/token", False),
        ("10.0.0.1", "https://0.0.1/token", False),
        ("localhost", "https://127.0.0.1/token", False),
    ],
)
def test_only_a_token_service_of_the_same_domain_is_told_who_we_are(host: str, realm: str, told: bool) -> None:
    found = token_service(f'Bearer realm="{realm}",service="s"', registry(host), SCOPE)
    assert found is not None
    assert found.sees_login is told


@pytest.mark.parametrize(
    "realm", ["", "/token", "http://ghcr.io/token", "http://169.254.169.254/", "file:///etc/passwd"]
)
def test_what_is_no_safe_url_is_not_asked_for_a_token(realm: str) -> None:
    with pytest.raises(ValueError, match=r"a URL|https://"):
        token_service(f'Bearer realm="{realm}"', registry("ghcr.io"), SCOPE)


def test_a_registry_on_this_machine_may_name_a_token_service_there() -> None:
    local = Origin(False, "127.0.0.1", 5000)
    found = token_service('Bearer realm="http://127.0.0.1:5001/token"', local, SCOPE)
    assert found is not None
    assert found.sees_login


def test_what_a_token_is_for_is_ours_to_say() -> None:
    challenge = 'bearer Realm="https://ghcr.io/token?a=b",service="ghcr.io & more",scope="registry:catalog:*"'
    found = token_service(challenge, registry("ghcr.io"), SCOPE)
    assert found is not None
    assert parse_qs(urlsplit(found.url).query) == {"a": ["b"], "service": ["ghcr.io & more"], "scope": [SCOPE]}


def test_a_registry_may_ask_for_a_password_itself() -> None:
    assert wants_basic('Basic realm="Registry"')
    assert not wants_basic('Bearer realm="https://ghcr.io/Basic"')
    assert token_service('Basic realm="Registry"', registry("ghcr.io"), SCOPE) is None


def test_a_long_challenge_takes_no_long_time() -> None:
    """As long as a head may be: it is read where calls are decided, so they would wait."""
    for odd in ("a" * 100_000, 'a="' * 30_000, "a=" * 50_000, ", Bearer" * 12_000, "Bearer " * 14_000, " " * 100_000):
        began = time.process_time()
        with suppress(ValueError):
            token_service(f"Bearer {odd}", registry("ghcr.io"), SCOPE)
        wants_basic(odd)
        assert time.process_time() - began < 1


@given(st.text())
def test_any_challenge_is_understood_or_refused(challenge: str) -> None:
    try:
        found = token_service(f"Bearer {challenge}", registry("ghcr.io"), SCOPE)
    except ValueError:
        return
    assert found is not None
    assert found.url.startswith("https://")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("auths", "expected"),
    [
        ({"ghcr.io": {"auth": encoded("me:secret:1")}}, "me:secret:1"),
        ({"https://ghcr.io": {"username": "me", "password": "s"}}, "me:s"),
        ({"https://ghcr.io/v1/": {"auth": encoded("me:s")}}, "me:s"),
        ({"ghcr.io.evil.com": {"auth": encoded("me:s")}, "io": {"auth": encoded("me:s")}}, ""),
        ({"ghcr.io": {"auth": "%%"}}, ""),
        ({"ghcr.io": {"auth": encoded("no colon")}}, ""),
        ({"ghcr.io": {"identitytoken": "t"}}, ""),
        ({"ghcr.io": "text"}, ""),
        ({"ghcr.io": {}}, ""),
        ([], ""),
    ],
)
def test_dockers_logins_are_read(tmp_path: Path, auths: object, expected: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"auths": auths, "credsStore": "desktop"}))
    assert login(path, "ghcr.io") == expected


def test_a_machine_without_docker_has_no_login(tmp_path: Path) -> None:
    assert login(tmp_path / "config.json", "ghcr.io") == ""


def test_logins_that_cannot_be_read_are_said_and_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"auths": secret')
    with pytest.raises(SourceUnavailable, match="cannot be read") as failed:
        login(path, "ghcr.io")
    assert "secret" not in str(failed.value)
