"""Each message is read once on its way, whatever carries it: what was judged is what is sent, and no second reader."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.auth.caller import Caller
from sidecar.downstream.hosted.multiplexed import Shared
from sidecar.downstream.post import Post
from sidecar.downstream.relay.response import send_failure
from sidecar.http.values import JSON, Headers
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Outgoing
from sidecar.mcp.strict_json import read_value
from sidecar.mcp.tool_call import Outcome
from sidecar.session.route import Route
from sidecar.session.session import Session
from sidecar.upstream.failure import Failure
from sidecar.upstream.streamable_http import HttpLink
from tests.downstream.fakes import Client, Opener, Sessions, line, post, run, turns
from tests.session.fakes import ObservedSession, SlowGate, batch
from tests.upstream.fakes import FakeAnswer, FakeRemote

CALL = {"method": "tools/call", "params": {"name": "quick", "arguments": {}}}
STATELESS = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every line that is read from now on."""
    lines: list[bytes] = []

    def noted(line: bytes) -> Any:
        lines.append(line)
        return read_value(line)

    monkeypatch.setattr(jsonrpc, "read_value", noted)
    return lines


def test_a_call_to_a_server_that_others_share_and_its_answer_are_read_once_each(read: list[bytes]) -> None:
    async def inside() -> None:
        opener, sessions = Opener(), Sessions()
        shared = Shared(opener, sessions, sessions.events.append, "stub")
        headers = {"mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": "quick"}
        params = CALL["params"] | {"_meta": STATELESS | {"progressToken": "t"}}  # type: ignore[operator]
        client, request = Client(), post(headers, id=7, method="tools/call", params=params)
        asking = asyncio.create_task(shared.post(request, client.exchange, None))
        await turns()
        (sent,) = opener.links[0].got
        assert sent["params"]["_meta"]["progressToken"] == sent["id"] != 7
        opener.links[0].say(line(id=sent["id"], result={"content": []}))
        await asking
        assert client.json == {"jsonrpc": "2.0", "id": 7, "result": {"content": []}}
        assert len(read) == 2
        await shared.end()

    run(inside())


def test_a_call_to_a_server_over_http_and_its_answer_are_read_once_each(read: list[bytes]) -> None:
    async def inside() -> None:
        came: list[Outgoing] = []
        link = HttpLink(FakeRemote([FakeAnswer(200, JSON, line(id=1, result={"content": []}))]).remote)
        session = Session(
            server="s", caller=Caller("s"), gate=SlowGate(), emit=lambda event: None,
            route=Route(came.append, link.send),
        )  # fmt: skip
        link.begin(session.from_server, lambda now: None, session.no_answer)
        session.from_client(line(id=1, **CALL))
        await turns(20)
        assert [message.raw for message in came] == [line(id=1, result={"content": []})]
        assert len(read) == 2

    run(inside())


def test_a_batch_that_is_posted_is_read_once_whatever_becomes_of_its_messages(read: list[bytes]) -> None:
    world, posted = ObservedSession(revision="2025-03-26"), Post(Headers())
    lines = batch(line(id=1, **CALL), line(id=2, method="tools/call", params={"name": "odd"}))
    world.session.from_client(lines, posted.route, posted.look)
    assert (posted.sent, len(read)) == ([1], 1)


def test_what_answers_a_batch_is_one_batch_though_we_refused_a_part_and_the_rest_has_no_answer() -> None:
    async def inside() -> None:
        world, posted, client = ObservedSession(revision="2025-03-26"), Post(Headers()), Client()
        lines = batch(line(id=1, **CALL), line(id=2, method="tools/call", params={"name": "odd"}))
        world.session.from_client(lines, posted.route, posted.look)
        send_failure(client.exchange, world.session, posted, Failure("gone", Outcome.UNKNOWN, "lost"))
        assert [answer["id"] for answer in client.json] == [1, 2]

    run(inside())
