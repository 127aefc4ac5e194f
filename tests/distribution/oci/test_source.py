"""A bundle in a registry, from registries that lie, ask who we are, or send us elsewhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sidecar.distribution.access import Access
from sidecar.distribution.file_source import tag_of
from sidecar.distribution.oci.manifest import INDEX, LAYER, MANIFEST, written
from sidecar.distribution.oci.reference import read
from sidecar.distribution.oci.source import OciSource
from sidecar.distribution.source import MAX_SIZE
from sidecar.errors import BundleRefused, NothingPublished, SidecarError, SourceUnavailable
from tests.distribution.made import look
from tests.support.scripted_http import Asked, Scripted, reply, scripted

BUNDLE = b"\x1f\x8ba bundle"
OURS = written(BUNDLE, {})
LOGIN = Access(lambda: "robot:hunter2")
BASIC = f"Basic {base64.b64encode(b'robot:hunter2').decode()}"

Part = Callable[[Asked], bytes | None]


def told(manifest: bytes) -> bytes:
    """A manifest as a registry answers with it."""
    kind = json.loads(manifest).get("mediaType", MANIFEST) if manifest.startswith(b"{") else MANIFEST
    return reply(200, manifest, content_type=kind, docker_content_digest=tag_of(manifest))


def answering(asked: Asked) -> bytes:
    """A registry as it should be, with one bundle."""
    if asked.method == "HEAD":
        return told(OURS).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    if asked.target.startswith("/v2/acme/policy/manifests/"):
        return told(OURS)
    return reply(200, BUNDLE) if asked.target == f"/v2/acme/policy/blobs/{tag_of(BUNDLE)}" else reply(404)


def but(part: Part) -> Callable[[Asked], bytes]:
    """The same, but for what `part` answers."""
    return lambda asked: found if (found := part(asked)) is not None else answering(asked)


def source(server: Scripted, access: Access = Access(), tag: str = "") -> OciSource:  # noqa: B008
    return OciSource(read(f"oci://{server.url.removeprefix('http://')}/acme/policy{tag}"), access)


def failing(part: Part, access: Access = Access(), tag: str = "") -> str:  # noqa: B008
    """What is said of a registry that gives no bundle."""
    with scripted(but(part)) as server, pytest.raises(SourceUnavailable) as failed:
        look(source(server, access, tag))
    assert "hunter2" not in str(failed.value)
    assert "\n" not in str(failed.value)
    return str(failed.value)


def on(what: str, answer: bytes) -> Part:
    return lambda asked: answer if f"/{what}/" in asked.target else None


def test_the_digest_of_the_manifest_saves_all_but_a_small_request() -> None:
    with scripted(answering) as server:
        found = look(source(server), "", tag_of(OURS))
        assert found[0] is not None
        assert (found[0].data, found[0].tag) == (BUNDLE, tag_of(OURS))
        assert found[1] is None
        assert [asked.method for asked in server.asked] == ["GET", "GET", "HEAD"]


def test_a_registry_that_tells_no_digest_in_short_is_asked_in_full() -> None:
    with scripted(but(lambda asked: reply(405) if asked.method == "HEAD" else None)) as server:
        assert look(source(server), tag_of(OURS)) == [None]


def test_what_a_digest_names_is_fetched_once() -> None:
    with scripted(answering) as server:
        assert look(source(server, tag=f"@{tag_of(OURS)}"), "", tag_of(OURS))[1] is None
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("manifests", reply(200, written(b"other", {}), docker_content_digest=tag_of(OURS))),
        ("blobs", reply(200, b"\x1f\x8ba bandle")),
        ("blobs", reply(200, BUNDLE[:-1])),
    ],
)
def test_another_content_than_the_digest_names_is_noticed(what: str, answer: bytes) -> None:
    assert "than its digest names" in failing(on(what, answer))


def test_another_manifest_than_the_digest_that_we_name_is_noticed() -> None:
    other = told(written(b"other", {}))
    assert "than its digest names" in failing(on("manifests", other), tag=f"@{tag_of(OURS)}")


def test_more_than_the_manifest_says_is_not_read() -> None:
    assert "too long" in failing(on("blobs", reply(200, BUNDLE + bytes(100_000))))
    assert "too long" in failing(on("manifests", reply(200, OURS + b" " * (1 << 20))))


def test_a_bundle_beyond_the_bound_is_not_asked_for() -> None:
    layer = {"mediaType": LAYER, "digest": tag_of(b""), "size": MAX_SIZE + 1}
    large = told(json.dumps({"mediaType": MANIFEST, "layers": [layer]}).encode())
    with scripted(but(on("manifests", large))) as server:
        with pytest.raises(BundleRefused) as refused:
            look(source(server))
        assert refused.value.kind == "too_large"
        assert len(server.asked) == 1


def test_where_nobody_published_it_says_so() -> None:
    with scripted(but(on("manifests", reply(404)))) as server, pytest.raises(NothingPublished, match="policy publish"):
        look(source(server))


def test_an_index_leads_to_its_manifest_and_no_further() -> None:
    index = json.dumps({"mediaType": INDEX, "manifests": [{"mediaType": MANIFEST, "digest": tag_of(OURS), "size": 9}]})
    with scripted(but(on("manifests", told(index.encode())))) as server, pytest.raises(SourceUnavailable):
        look(source(server))  # each manifest is that index, and its digest another
    by_tag: Part = lambda asked: told(index.encode()) if asked.target.endswith("/latest") else None  # noqa: E731
    with scripted(but(by_tag)) as server:
        [found] = look(source(server))
        assert found is not None
        assert (found.data, found.tag) == (BUNDLE, tag_of(index.encode()))


def test_a_blob_may_come_from_elsewhere_and_our_login_stays_here() -> None:
    def guarded(asked: Asked) -> bytes | None:
        if asked.headers.get("authorization") != BASIC:
            return reply(401, www_authenticate='Basic realm="r"')
        return reply(307, location=f"{storage.url}/kept?signature=1") if "/blobs/" in asked.target else None

    with scripted(lambda _: reply(200, BUNDLE)) as storage, scripted(but(guarded)) as server:
        [found] = look(source(server, LOGIN))
        assert found is not None
        assert found.data == BUNDLE
        assert [asked.target for asked in storage.asked] == ["/kept?signature=1"]
        assert "authorization" not in storage.asked[0].headers


def test_a_blob_from_elsewhere_has_to_have_its_digest() -> None:
    with scripted(lambda _: reply(200, b"\x1f\x8ba bandle")) as storage:
        assert "than its digest names" in failing(on("blobs", reply(307, location=f"{storage.url}/kept")))


@pytest.mark.parametrize("location", ["http://169.254.169.254/latest", "http://example.com/b", "file:///etc/passwd"])
def test_a_blob_comes_by_tls_only(location: str) -> None:
    assert "redirects to" in failing(on("blobs", reply(307, location=location)))


def test_redirects_that_never_end_are_left() -> None:
    assert "status 302" in failing(on("blobs", reply(302, location="/v2/acme/policy/blobs/x")))


@contextmanager
def with_tokens(realm_host: str = "127.0.0.1") -> Any:
    """A registry whose token service is on a host, and both as they were asked."""

    def token(asked: Asked) -> bytes:
        login = asked.headers.get("authorization")
        return reply(200, b'{"token": "t0ken"}') if login == BASIC else reply(401)

    with scripted(token) as service:
        realm = service.url.replace("127.0.0.1", realm_host)

        def guarded(asked: Asked) -> bytes | None:
            if asked.headers.get("authorization") == "Bearer t0ken":
                return None
            return reply(401, www_authenticate=f'Bearer realm="{realm}/token",service="registry",scope="registry:*"')

        with scripted(but(guarded)) as server:
            yield server, service


def test_a_token_service_of_the_registry_gets_our_login_and_the_registry_the_token() -> None:
    with with_tokens() as (server, service):
        found = look(source(server, LOGIN), "", tag_of(OURS))
        assert found[0] is not None
        assert found[0].data == BUNDLE
        assert [asked.target for asked in service.asked] == [
            "/token?service=registry&scope=repository%3Aacme%2Fpolicy%3Apull"
        ]
        assert [asked.headers.get("authorization") for asked in server.asked] == [None, *["Bearer t0ken"] * 3]


def test_a_token_that_ran_out_is_replaced() -> None:
    given = iter(range(10))
    shown: list[str] = []

    def answer(asked: Asked) -> bytes | None:
        if asked.target.startswith("/token"):
            return reply(200, f'{{"access_token": "token-{next(given)}"}}'.encode())
        shown.append(asked.headers.get("authorization", ""))
        if shown[-1] and shown.count(shown[-1]) <= 2:  # each token is good for two requests
            return None
        return reply(401, www_authenticate=f'Bearer realm="http://{asked.headers["host"]}/token",service="s"')

    with scripted(but(answer)) as server:
        found = look(source(server, LOGIN), "", "", "")
        assert [one.data for one in found if one is not None] == [BUNDLE] * 3
        assert set(shown) == {"", *(f"Bearer token-{number}" for number in range(3))}


def test_a_token_service_elsewhere_is_not_told_who_we_are() -> None:
    with with_tokens("localhost") as (server, service):
        with pytest.raises(SourceUnavailable, match="is of another domain, so it is not told our login"):
            look(source(server, LOGIN))
        assert service.asked
        assert all("authorization" not in asked.headers for asked in service.asked)


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        'Bearer realm="http://169.254.169.254/latest/meta-data"',
        'Bearer realm="https://user@example.com/"',
        'Negotiate realm="x"',
    ],
)
def test_a_challenge_that_cannot_be_met_is_one_plain_line(challenge: str) -> None:
    assert failing(lambda _: reply(401, www_authenticate=challenge), LOGIN)


def test_a_registry_that_never_lets_us_in_is_asked_twice_and_not_for_ever() -> None:
    with scripted(lambda _: reply(401, www_authenticate='Basic realm="r"')) as server:
        with pytest.raises(SourceUnavailable, match="does not let us in"):
            look(source(server, LOGIN))
        assert len(server.asked) == 2


@pytest.mark.parametrize("body", [b"", b"[]", b'{"token": 1}', b'{"token": "a\\r\\nx: y"}', b"[" * 60_000])
def test_a_token_that_is_none_is_not_shown_to_anybody(body: bytes) -> None:
    def answer(asked: Asked) -> bytes | None:
        if asked.target.startswith("/token"):
            return reply(200, body)
        host = asked.headers["host"]
        return reply(401, www_authenticate=f'Bearer realm="http://{host}/token"')

    assert "gives no token" in failing(answer, LOGIN)


def test_a_token_of_ours_is_shown_as_it_is() -> None:
    with scripted(answering) as server:
        look(source(server, Access(lambda: "plain-token")))
        assert {asked.headers["authorization"] for asked in server.asked} == {"Bearer plain-token"}


def test_dockers_login_is_used_for_its_registry_only(tmp_path: Path) -> None:
    guarded: Part = lambda asked: None if "authorization" in asked.headers else reply(401, www_authenticate="Basic")  # noqa: E731
    with scripted(but(guarded)) as server:
        config = tmp_path / "config.json"
        host = server.url.removeprefix("http://")
        for name in (host, "127.0.0.1", "127.0.0.1:1"):
            server.asked.clear()
            config.write_text(json.dumps({"auths": {name: {"username": "robot", "password": "hunter2"}}}))
            with suppress(SidecarError):
                look(source(server, Access(docker=config)))
            shown = {asked.headers.get("authorization") for asked in server.asked}
            assert (BASIC in shown) is (name == host)
