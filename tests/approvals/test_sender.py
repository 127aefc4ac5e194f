"""One message to a receiver that answers in every way: what is sent, what counts as taken, what is said of the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging

import pytest

from sidecar.approvals import sender
from sidecar.approvals.sender import Sender
from tests.support.peer import SECONDS
from tests.support.ports import free_port
from tests.support.receiver import TAKEN, receiving, status


def sent(url: str, body: bytes = b'{"a":1}') -> str:
    """Why a message was not taken."""
    return asyncio.run(Sender().send(url, {"webhook-id": "ntc_1"}, body))


def test_a_message_is_a_post_of_json_with_the_headers_that_it_was_given() -> None:
    with receiving() as receiver:
        assert sent(receiver.url) == ""
        (got,) = receiver.got
    assert (got.path, got.body) == ("/hooks/T0/s3cr3t-path", b'{"a":1}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["webhook-id"] == "ntc_1"
    assert got.headers.keys() & {"authorization", "cookie"} == set()


@pytest.mark.parametrize("code", [200, 201, 202, 204])
def test_every_status_of_success_means_that_it_was_taken(code: int) -> None:
    with receiving(status(code)) as receiver:
        assert sent(receiver.url) == ""


@pytest.mark.parametrize("code", [400, 401, 404, 410, 429, 500, 503])
def test_any_other_status_means_that_it_was_not(code: int) -> None:
    with receiving(status(code, body=b"s3cr3t of theirs")) as receiver:
        assert sent(receiver.url) == f"it answered with status {code}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    with receiving() as other, receiving(status(code, f"location: {other.url}")) as receiver:
        assert sent(receiver.url).startswith(f"it answered with status {code}: redirects are not followed")
        assert other.got == []


def test_no_cookie_is_given_back() -> None:
    with receiving(status(200, "set-cookie: a=b")) as receiver:

        async def twice() -> None:
            one = Sender()
            await one.send(receiver.url, {}, b"{}")
            await one.send(receiver.url, {}, b"{}")

        asyncio.run(twice())
        assert ["cookie" in got.headers for got in receiver.got] == [False, False]


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as proxy, receiving() as receiver:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sent(receiver.url) == ""
        assert (len(receiver.got), proxy.got) == (1, [])


def test_nobody_there_is_said_without_the_path() -> None:
    why = sent(f"http://127.0.0.1:{free_port()}/hooks/s3cr3t-path")
    assert why.startswith("it cannot be reached: ")
    assert "s3cr3t" not in why


def test_who_speaks_no_http_is_said_without_what_it_sent() -> None:
    with receiving(b"s3cr3t\r\n\r\n") as receiver:
        assert sent(receiver.url) == "the connection broke (RemoteProtocolError)"


def test_a_receiver_whose_certificate_nobody_vouches_for_gets_nothing() -> None:
    with receiving() as receiver:
        assert sent(receiver.url.replace("http:", "https:")).startswith("it cannot be reached: ")
        assert receiver.got == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "SECONDS", 0.3)


@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_says_nothing_is_left() -> None:
    with receiving() as receiver:
        receiver.waits.clear()
        assert sent(receiver.url).startswith("it did not answer within")


async def answered_by(begin: bytes, piece: bytes) -> tuple[str, int]:
    """Why a message was not taken by a receiver that never ends its answer, and how many bytes that got rid of."""
    written, over = 0, asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await reader.readuntil(b"{}")
        writer.write(begin)
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof():
                writer.write(piece)
                await writer.drain()
                written += len(piece)
                await asyncio.sleep(0)
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, asyncio.timeout(SECONDS):
        why = await Sender().send(f"http://127.0.0.1:{port}/", {}, b"{}")
        await over.wait()
        return why, written


@pytest.mark.usefixtures("impatient")
def test_a_receiver_that_trickles_is_left() -> None:
    why, _ = asyncio.run(answered_by(b"HTTP/1.1 200 OK\r\nx: ", b""))
    assert why.startswith("it did not answer within")


def test_an_answer_without_end_is_not_read_to_it() -> None:
    why, written = asyncio.run(answered_by(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 4096))
    assert why == ""
    assert written < 64 << 20


def test_a_head_without_end_is_not_read_to_it() -> None:
    why, written = asyncio.run(answered_by(b"HTTP/1.1 200 OK\r\nx: ", b"x" * 4096))
    assert why == "the connection broke (RemoteProtocolError)"
    assert written < 64 << 20


def test_the_address_stands_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), receiving(TAKEN) as receiver:
        sent(receiver.url)
    assert "s3cr3t" not in caplog.text


@pytest.mark.parametrize(
    "url", ["https://1.2.3.999/s3cr3t", "https://xn--zz--zz/s3cr3t", f"https://a/{'s3cr3t' * 20_000}"]
)
def test_a_url_that_cannot_be_used_is_said_without_the_path(url: str) -> None:
    why = sent(url)
    assert "cannot be used" in why
    assert "s3cr3t" not in why
