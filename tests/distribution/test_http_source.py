"""A bundle at a URL, from servers that answer well, slowly, too much, too little, or something else."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.distribution import http_source, web
from sidecar.distribution.access import Access
from sidecar.distribution.http_source import HttpSource
from sidecar.distribution.source import MAX_SIZE, Fetched, Source
from sidecar.errors import BundleRefused, NothingPublished, SourceUnavailable
from tests.distribution.made import look, using
from tests.fuzz.strategies import mixed
from tests.support.fuzzing import examples
from tests.support.scripted_http import Answer, Asked, Scripted, dripping, reply, scripted

BUNDLE = b"\x1f\x8ba bundle"
POLLS = "application/vnd.openpolicyagent.bundles"
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def failing(answer: Answer, access: Access = Access(), path: str = "/b.tar.gz?sig=s3cret") -> str:  # noqa: B008
    """What is said of a server that gives no bundle."""
    with scripted(answer) as server, pytest.raises(SourceUnavailable) as failed:
        look(HttpSource(f"{server.url}{path}", access))
    assert "s3cret" not in str(failed.value)
    assert "\n" not in str(failed.value)
    return str(failed.value)


def test_an_etag_saves_the_download() -> None:
    def answer(asked: Asked) -> bytes:
        return reply(304) if asked.headers.get("if-none-match") == '"1"' else reply(200, BUNDLE, etag='"1"')

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        assert first.data == BUNDLE
        assert await source.fetch(first.tag) is None
        # Whoever has lost his bundle gets it again.
        assert await source.fetch("") == first

    with scripted(answer) as server:
        using(HttpSource(f"{server.url}/b", Access()), looks)
        assert [asked.headers.get("if-none-match") for asked in server.asked] == [None, '"1"', None]
        assert all(asked.headers["accept-encoding"] == "identity" for asked in server.asked)


def test_a_server_without_etags_is_compared_by_content() -> None:
    contents = iter([BUNDLE, BUNDLE, b"other"])

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        assert await source.fetch(first.tag) is None
        second = await source.fetch(first.tag)
        assert second is not None
        assert second.data == b"other"

    with scripted(lambda _: reply(200, next(contents))) as server:
        using(HttpSource(server.url, Access()), looks)


def test_an_etag_of_the_second_in_which_the_file_changed_is_not_trusted_yet() -> None:
    """nginx makes it of second and size: of two bundles of one second it would say that nothing changed."""
    contents = iter([BUNDLE, b"\x1f\x8bb bundle", b"\x1f\x8bb bundle"])
    ages = iter([0, 1, 5])

    def answer(asked: Asked) -> bytes:
        if "if-none-match" in asked.headers:
            return reply(304)
        said = NOW + timedelta(seconds=next(ages))
        return reply(
            200, next(contents), etag='"same"', last_modified=format_datetime(NOW, usegmt=True),
            date=format_datetime(said, usegmt=True),
        )  # fmt: skip

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        second = await source.fetch(first.tag)
        assert second is not None
        assert second.data == b"\x1f\x8bb bundle"
        assert [await source.fetch(second.tag) for _ in range(2)] == [None, None]

    with scripted(answer) as server:
        using(HttpSource(server.url, Access()), looks)
        assert ["if-none-match" in asked.headers for asked in server.asked] == [False, False, False, True]


@pytest.mark.parametrize(
    "changed",
    [
        "Mon, 30 Nov 99999999999999999999 12:00:00 GMT",
        "Mon, 30 Nov 2026 12:00:00 +99999999999999999999",
        "x",
        "9" * 9999,
    ],
)
def test_a_time_that_is_none_only_costs_a_download(changed: str) -> None:
    def answer(asked: Asked) -> bytes:
        return reply(304) if "if-none-match" in asked.headers else reply(200, BUNDLE, etag='"1"', last_modified=changed)

    with scripted(answer) as server:
        first, again = look(HttpSource(server.url, Access()), "", "sha256:0")
        assert first == again
        assert first is not None


def test_a_304_that_nobody_asked_for_is_no_bundle() -> None:
    assert "status 304" in failing(lambda _: reply(304))


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "SIDECAR_POLICY_TOKEN"), (403, "SIDECAR_POLICY_TOKEN"), (500, "status 500"), (204, "status 204")],
)
def test_another_status_is_no_bundle(status: int, why: str) -> None:
    assert why in failing(lambda _: reply(status, b"<p>s3cret</p>" if status != 204 else b""))


def test_where_nobody_published_it_says_so() -> None:
    with scripted(lambda _: reply(404)) as server, pytest.raises(NothingPublished, match="sidecar policy publish"):
        look(HttpSource(server.url, Access()))


def test_a_web_page_is_no_bundle() -> None:
    assert "does a login stand before it" in failing(
        lambda _: reply(200, b"<html>Sign in", content_type="text/html; charset=utf-8")
    )


def test_a_body_that_is_cut_off_is_noticed() -> None:
    assert "cut short" in failing(lambda _: [reply(200, BUNDLE * 100)[:-1]])
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert "cut short" in failing(lambda _: [chunked])


def test_a_server_that_closes_without_a_word_is_no_bundle() -> None:
    assert "cut short" in failing(lambda _: [])


@pytest.mark.parametrize("said", [b"220 mail.example.com\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 100_000])
def test_what_is_no_http_is_no_bundle(said: bytes) -> None:
    assert "no HTTP" in failing(lambda _: [said])


def test_a_body_without_an_end_is_left_at_the_bound() -> None:
    sent = 0

    def endless(_: Asked) -> Iterator[bytes]:
        nonlocal sent
        yield b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        while True:
            yield b"100000\r\n" + bytes(1 << 20) + b"\r\n"
            sent += 1 << 20

    with scripted(endless) as server, pytest.raises(BundleRefused) as refused:
        look(HttpSource(server.url, Access()))
    assert refused.value.kind == "too_large"
    assert sent < 2 * MAX_SIZE


def test_a_body_in_tiny_pieces_holds_up_nobody_and_is_left() -> None:
    """They arrive many together, and to take them apart is work that nothing interrupts by itself."""
    heard = 0

    async def heartbeat() -> None:
        nonlocal heard
        while True:
            await asyncio.sleep(0)
            heard += 1

    async def looks(source: Source) -> None:
        heart = asyncio.create_task(heartbeat())
        with pytest.raises(SourceUnavailable, match="too many pieces"):
            await source.fetch("")
        heart.cancel()

    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    with scripted(lambda _: [head, b"1\r\nx\r\n" * (web.MAX_PIECES + 1), b"0\r\n\r\n"]) as server:
        using(HttpSource(server.url, Access()), looks)
    assert heard > web.MAX_PIECES / web.IN_ONE_GO


def test_a_length_beyond_the_bound_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (MAX_SIZE + 1)
    with scripted(lambda _: [head]) as server, pytest.raises(BundleRefused) as refused:
        look(HttpSource(server.url, Access()))
    assert refused.value.kind == "too_large"


def test_an_encoding_is_never_undone() -> None:
    assert "encoded once more" in failing(lambda _: reply(200, BUNDLE, content_encoding="br"))
    with scripted(lambda _: reply(200, BUNDLE, content_encoding="gzip")) as server:
        [found] = look(HttpSource(server.url, Access()))
    assert found is not None
    assert found.data == BUNDLE  # as it is kept there


@pytest.mark.parametrize(
    ("slow", "head"), [("HEAD", b""), ("BODY", b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n")]
)
def test_a_server_that_drips_is_left(monkeypatch: pytest.MonkeyPatch, slow: str, head: bytes) -> None:
    monkeypatch.setattr(web, slow, 0.3)
    servers: list[Scripted] = []
    with scripted(lambda _: dripping(servers.pop, head, b"H") if head else dripping(servers.pop, b"H", b"")) as server:
        servers += [server] * 1000
        with pytest.raises(SourceUnavailable, match="does not answer in time"):
            look(HttpSource(server.url, Access()))


def test_a_redirect_is_followed_on_its_server_only() -> None:
    def answer(asked: Asked) -> bytes:
        return reply(302, location="/there") if asked.target == "/b" else reply(200, BUNDLE)

    with scripted(answer) as server:
        [found] = look(HttpSource(f"{server.url}/b", Access(lambda: "t0ken")))
        assert found is not None
        assert [asked.target for asked in server.asked] == ["/b", "/there"]
        assert all(asked.headers["authorization"] == "Bearer t0ken" for asked in server.asked)


def test_another_server_is_not_asked_and_sees_no_token() -> None:
    with scripted(lambda _: reply(200, BUNDLE)) as other:
        for location in (
            f"{other.url}/b",
            "//169.254.169.254/latest",
            "https://example.invalid/b",
            "file:///etc/passwd",
        ):
            assert "redirects to" in failing(
                lambda _, location=location: reply(307, location=location),  # type: ignore[misc]
                Access(lambda: "t0ken"),
            )
        assert other.asked == []


def test_redirects_that_never_end_are_left() -> None:
    with scripted(lambda _: reply(301, location="/b")) as server:
        with pytest.raises(SourceUnavailable, match="again and again"):
            look(HttpSource(f"{server.url}/b", Access()))
        assert len(server.asked) == web.HOPS + 1


def test_a_token_is_read_anew_for_each_look() -> None:
    tokens = iter(["first", "name:pass"])
    with scripted(lambda _: reply(200, BUNDLE)) as server:
        look(HttpSource(server.url, Access(lambda: next(tokens))), "", "")
        basic = f"Basic {base64.b64encode(b'name:pass').decode()}"
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer first", basic]


def test_a_token_that_could_smuggle_a_header_is_refused() -> None:
    assert "characters that no token has" in failing(lambda _: reply(200), Access(lambda: "a\r\nb"))


def test_no_cookie_and_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted(lambda _: reply(200, b"of a proxy")) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with scripted(lambda _: reply(200, BUNDLE, set_cookie="a=b; Path=/")) as server:
            found = look(HttpSource(server.url, Access()), "", "")
            assert [one.data for one in found if isinstance(one, Fetched)] == [BUNDLE] * 2
            assert not any("cookie" in asked.headers for asked in server.asked)


def test_a_server_that_serves_long_polls_is_asked_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_source, "HELD", 20.0)

    def answer(asked: Asked) -> bytes:
        if "if-none-match" in asked.headers:
            return reply(304, content_type=POLLS)
        return reply(200, BUNDLE, etag='"1"', content_type=POLLS)

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        assert not source.waits
        assert await source.fetch(first.tag) is None
        # It answered at once, whatever it says of itself: without a pause we would ask it as fast as we can.
        assert not source.waits

    with scripted(answer) as server:
        using(HttpSource(server.url, Access()), looks)
        assert [asked.headers["prefer"] for asked in server.asked] == ["modes=snapshot", "modes=snapshot;wait=30"]


def test_a_long_poll_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "HEAD", 1.0)
    monkeypatch.setattr(http_source, "HELD", 1.0)
    servers: list[Scripted] = []

    def answer(asked: Asked) -> bytes:
        if "if-none-match" in asked.headers:
            servers[0].over.wait(1.3)
            return reply(200, b"news", etag='"2"', content_type=POLLS)
        return reply(200, BUNDLE, etag='"1"', content_type=POLLS)

    async def looks(source: Source) -> None:
        first = await source.fetch("")
        assert first is not None
        found = await source.fetch(first.tag)
        assert found is not None
        assert found.data == b"news"
        assert source.waits

    with scripted(answer) as server:
        servers.append(server)
        using(HttpSource(server.url, Access()), looks)


def test_whoever_gives_up_a_look_can_look_again() -> None:
    servers: list[Scripted] = []

    def answer(asked: Asked) -> bytes | Iterator[bytes]:
        return dripping(lambda: servers[0], b"", b"") if asked.target == "/b" and first else reply(200, BUNDLE)

    first = True

    async def looks(source: Source) -> None:
        nonlocal first
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await source.fetch("")
        first = False
        assert await source.fetch("") is not None

    with scripted(answer) as server:
        servers.append(server)
        using(HttpSource(f"{server.url}/b", Access()), looks)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 304 Not Modified\r\n", b"HTTP/1.1 302 Found\r\n", b"HTTP/1.1 103 Hints\r\n",
    b"HTTP/1.1 101 Switching\r\n", b"content-length: 5\r\n", b"content-length: -1\r\n", b"etag: \xff\r\n",
    b"transfer-encoding: chunked\r\n", b"location: /\r\n", b"location: //\xff\r\n", b"last-modified: x\r\n",
    b"content-encoding: gzip\r\n", b"set-cookie: a=b; expires=x\r\n", b"date: Mon, 99\r\n", b"\r\n", b"5\r\nhello\r\n",
    b"0\r\n\r\n", b"hello", b"\x00", b"ffffffffffffffffff\r\n",
]  # fmt: skip
CASES = [reply(200, BUNDLE, etag='"1"', last_modified="Mon, 30 Nov 2026 12:00:00 GMT"), reply(302, location="/x")]


@pytest.mark.fuzz
@examples(60)
@given(mixed(ANSWERS, CASES), st.booleans())
def test_whatever_a_server_answers_it_is_a_bundle_or_one_plain_line(said: bytes, in_pieces: bool) -> None:
    with scripted(lambda _: [said[at : at + 1] for at in range(len(said))] if in_pieces else [said]) as server:
        try:
            [found] = look(HttpSource(server.url, Access()))
        except (SourceUnavailable, BundleRefused) as error:
            assert "\n" not in str(error)  # noqa: PT017 - that it is refused is no failure
        else:
            assert found is not None


def test_nobody_there_and_no_such_name_are_one_plain_line() -> None:
    with scripted(lambda _: b"") as gone:
        url = gone.url
    with pytest.raises(SourceUnavailable, match="the connection is refused"):
        look(HttpSource(url, Access()))
    with pytest.raises(SourceUnavailable, match=r"cannot be resolved|no connection"):
        look(HttpSource("https://nobody.invalid/b", Access()))
