"""One request to a collector that answers in every way: what is sent, what counts as taken, what may be sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sidecar.observe.traces import collector
from sidecar.observe.traces.collector import MAX_WAIT, Collector, Taken, target_of
from sidecar.settings import Otlp
from tests.support.certificates import issued
from tests.support.ports import free_port
from tests.support.scripted_http import SECONDS, Asked, reply, scripted

SECRET = ("authorization", "Bearer s3cr3t-t0k3n")


def sent(url: str, times: int = 1) -> list[Taken]:
    """What became of requests, one after the other."""

    async def send() -> list[Taken]:
        one = Collector(Otlp(url, (SECRET,)))
        try:
            return [await one.send(b'{"resourceSpans":[]}') for _ in range(times)]
        finally:
            await one.close()

    return asyncio.run(send())


def answered(answer: bytes) -> Taken:
    """What an answer means."""
    with scripted(lambda asked: answer) as server:
        (taken,) = sent(server.url)
    return taken


def partly(**said: object) -> bytes:
    return reply(200, json.dumps({"partialSuccess": said}).encode())


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/v1/traces"), ("", "/v1/traces"), ("/otlp", "/otlp/v1/traces"), ("/otlp/", "/otlp/v1/traces"),
        ("/v1/traces", "/v1/traces"), ("/v1/traces/", "/v1/traces"), ("/a/v1/traces?k=v", "/a/v1/traces?k=v"),
        ("/a?k=v", "/a/v1/traces?k=v"), ("/v1/tracesx", "/v1/tracesx/v1/traces"),
    ],
)  # fmt: skip
def test_traces_are_taken_below_the_path_of_the_url(path: str, target: str) -> None:
    assert target_of(path) == target


def test_a_request_is_a_post_of_json_with_the_headers_that_it_was_given_on_one_connection() -> None:
    with scripted(lambda asked: reply(200, b"{}")) as server:
        assert sent(f"{server.url}/otlp", 2) == [Taken(), Taken()]
    first, second = server.asked
    assert (first.method, first.target, first.body) == ("POST", "/otlp/v1/traces", b'{"resourceSpans":[]}')
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == "Bearer s3cr3t-t0k3n"
    assert first.descriptor == second.descriptor


@pytest.mark.parametrize("body", [b"", b"{}", b'{"partialSuccess":{}}', b'{"partialSuccess":null}', b'{"new":[1]}'])
def test_what_a_collector_answers_means_that_all_were_taken(body: bytes) -> None:
    assert answered(reply(200, body)) == Taken()


def test_a_collector_that_rejects_some_is_not_asked_again() -> None:
    taken = answered(partly(rejectedSpans="3", errorMessage="too \u202e old"))
    assert taken == Taken("it rejected 3 spans: too \\u202e old", rejected=3)
    assert answered(partly(rejectedSpans=2)) == Taken("it rejected 2 spans: it does not say why", rejected=2)


def test_what_a_collector_was_shown_is_not_told_again_when_it_says_that() -> None:
    said = "x" * 190 + " Bearer s3cr3t-t0k3n is over its quota"
    taken = answered(partly(rejectedSpans=1, errorMessage=said))
    assert (taken.rejected, "s3cr3t" in taken.why, "[hidden]" in taken.why) == (1, False, True)


@pytest.mark.parametrize("count", ["many", None, [], -4, "-4", 0, "0", {}])
def test_a_warning_of_a_collector_or_a_number_that_is_none_rejects_nothing(count: object) -> None:
    assert answered(partly(rejectedSpans=count, errorMessage="mind the gap")) == Taken()


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"7", b"\xff", b"{", b"x" * 100_000, b"[" * 60_000])
def test_a_success_that_is_not_a_collectors_is_none(body: bytes) -> None:
    assert answered(reply(200, body)) == Taken(
        "it answered with status 200, but not as a collector does", rejected=None
    )


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_after_these_statuses_the_same_may_be_taken_later(code: int) -> None:
    assert answered(reply(code)) == Taken(f"it answered with status {code}", again=True, rejected=None)


@pytest.mark.parametrize(("given", "after"), [("7", 7.0), ("900", MAX_WAIT), ("soon", 0.0), ("-1", 0.0), ("²", 0.0)])
def test_it_waits_as_long_as_it_is_told_up_to_a_bound(given: str, after: float) -> None:
    assert answered(reply(503, retry_after=given)).after == after


@pytest.mark.parametrize(
    ("code", "advice"),
    [(400, ""), (401, "OTEL_EXPORTER_OTLP_HEADERS"), (404, "--otlp"), (413, "smaller"), (500, ""), (204, "")],
)
def test_after_any_other_status_all_are_lost(code: int, advice: str) -> None:
    taken = answered(reply(code, b"s3cr3t of theirs" if code != 204 else b""))
    assert (taken.again, taken.rejected) == (False, None)
    assert taken.why.startswith(f"it answered with status {code}")
    assert advice in taken.why
    assert "s3cr3t" not in taken.why


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    with scripted(lambda asked: reply(200)) as other, scripted(lambda asked: reply(code, location=other.url)) as server:
        (taken,) = sent(server.url)
    assert other.asked == []
    assert (taken.again, taken.rejected) == (False, None)
    assert taken.why.startswith(f"it redirects (status {code}), which is not followed")


def cut_off(asked: Asked) -> list[bytes]:
    return [reply(200, b'{"partialSuccess":{}}')[:-4]]


def nothing(asked: Asked) -> list[bytes]:
    return []


def garbage(asked: Asked) -> list[bytes]:
    return [b"s3cr3t\r\n\r\n"]


@pytest.mark.parametrize("answer", [cut_off, nothing, garbage])
def test_an_answer_that_is_none_may_be_one_later(answer: Callable[[Asked], list[bytes]]) -> None:
    with scripted(answer) as server:
        (taken,) = sent(server.url)
    assert (taken.again, taken.rejected) == (True, None)
    assert "s3cr3t" not in taken.why


def test_nobody_there_may_be_there_later() -> None:
    (taken,) = sent(f"http://127.0.0.1:{free_port()}")
    assert taken == Taken("the connection is refused", again=True, rejected=None)


@pytest.mark.parametrize("begin", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"])
def test_who_answers_slowly_is_waited_for_no_longer_than_a_bound(begin: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "SECONDS", 0.1)

    def stalled(asked: Asked) -> Iterator[bytes]:
        yield begin
        server.over.wait(SECONDS)

    with scripted(stalled) as server:
        (taken,) = sent(server.url)
    assert taken == Taken("it does not answer within 0 s", again=True, rejected=None)


def test_a_certificate_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = issued(tmp_path)
    with scripted(lambda asked: reply(200), certificate.context, "localhost") as server:
        (taken,) = sent(server.url)
        assert (taken.again, server.asked) == (True, [])
        assert taken.why.startswith("its TLS certificate is not accepted")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
        assert sent(server.url) == [Taken()]
