"""A remote server by legacy HTTP+SSE: where it wants messages, their order, and which of them arrived."""

from __future__ import annotations

import asyncio

import pytest

from sidecar.errors import StartError
from sidecar.http.client import Lost, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.origin import Origin
from sidecar.http.sse import Event
from sidecar.mcp.tool_call import Outcome
from sidecar.upstream import http_sse
from sidecar.upstream.http_sse import SseLink
from sidecar.upstream.remote import Remote
from tests.downstream.fakes import line, run, turns
from tests.engine.asking import soon
from tests.session.fakes import batch, outgoing
from tests.upstream.fakes import FakeAnswer, FakeRemote, Heard, as_events, event

ENDPOINT = Event("/messages?s=1", type="endpoint")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (FakeAnswer(404), "the MCP server answered status 404 and no stream"),
        (FakeAnswer(200, "text/html"), "the MCP server answered status 200 and no stream"),
        (FakeAnswer(307), "the MCP server redirects"), (as_events(), "ended its stream before it named an address"),
        (as_events(event(method="a")), "ended its stream"), (as_events(breaks=True), "cannot be reached"),
    ],
)  # fmt: skip
def test_a_server_that_names_no_address_is_said_and_let_go(answer: FakeAnswer, text: str) -> None:
    async def inside() -> None:
        with pytest.raises(StartError, match=text):
            await SseLink.connect(FakeRemote([answer]).remote)
        assert answer.is_aborted

    run(inside())


def test_a_server_that_cannot_be_reached_is_said() -> None:
    async def inside() -> None:
        with pytest.raises(StartError, match="cannot be reached"):
            await SseLink.connect(FakeRemote([Unreachable("x")]).remote)

    run(inside())


def test_messages_are_posted_where_the_server_said_in_their_order_a_batch_one_by_one() -> None:
    async def inside() -> None:
        server, heard = FakeRemote([as_events(ENDPOINT, event(id=1, result={}))]), Heard()
        link = await SseLink.connect(server.remote)
        heard.begin(link)
        link.send(outgoing(line(method="a")))
        link.send(outgoing(batch(line(id=1, method="b"), line(method="c"))))
        await turns(30)
        assert server.posted == ["a", "b", "c"]
        assert {one.target for one in server.sent[1:]} == {"/messages?s=1"}
        assert [message["id"] for message in heard.messages] == [1]
        assert await link.ended() == 1
        link.close()

    run(inside())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (FakeAnswer(404), Outcome.NOT_RUN), (FakeAnswer(400), Outcome.UNKNOWN), (FakeAnswer(302), Outcome.NOT_RUN),
        (FakeAnswer(303), Outcome.UNKNOWN), (FakeAnswer(500), Outcome.UNKNOWN),
        (Unreachable("x"), Outcome.NOT_RUN), (Lost("x"), Outcome.UNKNOWN),
    ],
)  # fmt: skip
def test_a_request_that_did_not_arrive_is_told_each_of_a_batch_too(
    answer: FakeAnswer | Exception, outcome: Outcome
) -> None:
    async def inside() -> None:
        server, heard = FakeRemote([as_events(ENDPOINT), answer, FakeAnswer(202)]), Heard()
        link = await SseLink.connect(server.remote)
        heard.begin(link)
        link.send(outgoing(batch(line(id=1, method="b"), line(id=2, method="c"))))
        await turns(30)
        assert heard.outcomes == [(1, outcome)]
        link.close()

    run(inside())


def test_a_post_that_the_server_holds_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_sse, "PATIENCE", 0.01)

    async def inside() -> None:
        server, heard = FakeRemote([as_events(ENDPOINT)]), Heard()
        held = asyncio.Event()
        send = server.send

        async def slow(method: str, headers: Fields, body: bytes = b"", *, target: str | None = None) -> FakeAnswer:
            answer = await send(method, headers, body, target=target)
            if b"held" in body:
                await held.wait()
            return answer

        server.send = slow  # type: ignore[method-assign] # the test's own fake
        link = await SseLink.connect(server.remote)
        heard.begin(link)
        for method in ("held", "a", "b", "c"):
            link.send(outgoing(line(id=method, method=method)))
        await soon(lambda: len(server.posted) == 4)
        assert server.posted == ["held", "a", "b", "c"]
        link.close()

    run(inside())


def test_what_is_cancelled_while_it_waits_here_is_not_sent_and_what_has_its_id_next_is() -> None:
    async def inside() -> None:
        server, heard = FakeRemote([as_events(ENDPOINT)]), Heard()
        link = await SseLink.connect(server.remote)
        heard.begin(link)
        release = server.hold("held")
        for message in (
            {"method": "held"},
            {"method": "tools/call", "id": 1, "params": {"name": "t", "arguments": {"n": 1}}},
            {"method": "notifications/cancelled", "params": {"requestId": 1}},
            {"method": "tools/call", "id": 1, "params": {"name": "t", "arguments": {"n": 2}}},
            {"method": "notifications/cancelled", "params": {"requestId": "1"}},
        ):
            link.send(outgoing(line(**message)))
        release.set()
        await turns(50)
        assert server.posted == ["held", "tools/call", "notifications/cancelled"]
        assert server.sent[2].body["params"]["arguments"] == {"n": 2}
        assert heard.outcomes == [(1, Outcome.NOT_RUN)]
        link.close()

    run(inside())


# Addresses.


async def _within(origin: Origin, address: str) -> str:
    remote = Remote(origin, "/base/sse", list, 100)
    try:
        return remote.within(address)
    finally:
        await remote.close()


@pytest.mark.parametrize(
    ("address", "target"),
    [
        ("/messages?s=1", "/messages?s=1"), ("messages", "/base/messages"), ("?s=1", "/base/sse?s=1"),
        ("http://h/m", "/m"), ("HTTP://H:80/m", "/m"), ("//h/m", "/m"), ("/\\evil.example/m", "/\\evil.example/m"),
        ("http:\\\\evil.example/m", "/base/\\\\evil.example/m"),
    ],
)  # fmt: skip
def test_an_address_on_the_server_is_taken_however_it_is_written(address: str, target: str) -> None:
    assert asyncio.run(_within(Origin(False, "h", 80), address)) == target


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example/m", "//evil.example/m", "https://h/m", "http://h:81/m", "http://h@evil.example/m",
        "http://h.evil.example/", "http://user@h/m", "file:///etc/passwd", "javascript:x", "/a b", "/\r\nx: y",
    ],
)  # fmt: skip
def test_an_address_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=r"an address of another server|a URL"):
        asyncio.run(_within(Origin(False, "h", 80), address))
