"""Sessions that we serve ourselves, each with a server of its own: over streamable HTTP and over legacy HTTP+SSE."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sidecar.downstream.hosted.multiplexed import Shared
from sidecar.downstream.hosted.per_session import Hosted
from sidecar.downstream.hosted.replay_buffer import HIGH_WATER
from sidecar.downstream.http_sse import Legacy
from sidecar.downstream.sessions import Table
from sidecar.errors import StartError
from sidecar.http.values import Headers, Request
from sidecar.mcp.tool_call import Outcome
from tests.downstream.fakes import Client, FakeLink, Opener, Sessions, line, post, run, sent, turns
from tests.session.fakes import batch


class HostedListener:
    """A listener in front of servers of the test's own, with room for two sessions."""

    def __init__(self) -> None:
        self.opener = Opener()
        self.sessions = Sessions()
        self.counts: list[int] = [0]
        self.tasks: list[asyncio.Task[None]] = []
        table = Table(asyncio.get_running_loop().time, self.counts.append, limit=2)
        shared = Shared(self.opener, self.sessions, self.sessions.events.append, "stub")
        self.hosted = Hosted(self.opener, table, self.sessions, shared)
        self.legacy = Legacy(self.opener, table, self.sessions, "/sse")
        self.id = ""

    @property
    def link(self) -> FakeLink:
        return self.opener.links[-1]

    def say(self, **members: Any) -> None:
        self.link.say(line(**members))

    async def put(self, request: Request, to: Hosted | Legacy | None = None) -> Client:
        client = Client()
        self.tasks.append(asyncio.create_task((to or self.hosted).handle(request, client.exchange, None)))
        await turns()
        return client

    async def hello(self, revision: str = "2025-11-25") -> Client:
        """Open a session."""
        client = await self.put(post(id=0, method="initialize", params={}))
        if not client.is_complete:
            self.say(id=0, result={"protocolVersion": revision})
            await turns()
            self.id = client.header("mcp-session-id") or ""
            del self.link.sent[:]
        return client

    async def ask(self, *messages: dict[str, Any]) -> Client:
        lines = [line(**message) for message in messages]
        body = lines[0] if len(lines) == 1 else batch(*lines)
        return await self.put(sent(body, {"mcp-session-id": self.id}))

    async def get(self, method: str = "GET", **headers: str) -> Client:
        fields = {"mcp-session-id": self.id, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.put(Request(method, "/mcp", "", Headers(fields.items()), b"", 1))

    async def end(self) -> None:
        await self.hosted.close()
        await self.legacy.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def call(id_: int, tool: str = "look") -> dict[str, Any]:
    return {"id": id_, "method": "tools/call", "params": {"name": tool}}


def cancel(id_: int) -> dict[str, Any]:
    return {"method": "notifications/cancelled", "params": {"requestId": id_}}


def test_initialize_starts_a_server_and_its_answer_names_the_session() -> None:
    async def inside() -> None:
        world = HostedListener()
        client = await world.hello()
        assert (client.json["id"], len(world.id) > 30, world.opener.asked) == (0, True, 1)
        answer = await world.ask({"id": 1, "method": "ping"})
        world.say(id=1, result={"a": 1})
        await turns()
        assert answer.json["result"] == {"a": 1}
        await world.end()

    run(inside())


@pytest.mark.parametrize(
    ("headers", "status"), [({}, 400), ({"mcp-session-id": "unknown"}, 404), ({"mcp-session-id": ""}, 404)]
)
def test_what_names_no_session_of_ours_is_refused(headers: dict[str, str], status: int) -> None:
    async def inside() -> None:
        world = HostedListener()
        assert (await world.put(post(headers, id=1, method="ping"))).status == status
        assert (await world.put(Request("GET", "/mcp", "", Headers(headers.items()), b"", 1))).status == status
        assert world.opener.asked == 0
        await world.end()

    run(inside())


def test_no_more_sessions_are_opened_than_there_may_be_also_while_servers_start() -> None:
    async def inside() -> None:
        world = HostedListener()
        world.opener.may.clear()
        clients = [await world.put(post(id=0, method="initialize")) for _ in range(5)]
        world.opener.may.set()
        await turns()
        assert world.opener.asked == 2
        assert [client.json["error"]["code"] for client in clients[2:]] == [-32000] * 3
        assert [client.refused for client in clients[2:]] == [["full"]] * 3
        await world.end()
        assert world.counts[-1] == 0

    run(inside())


def test_a_server_that_does_not_start_leaves_no_session() -> None:
    async def inside() -> None:
        world = HostedListener()

        async def fails() -> FakeLink:
            raise StartError("no such command")

        world.hosted._open_link = fails
        client = await world.hello()
        assert (client.status, client.json["error"]["message"], client.json["id"]) == (200, "no such command", 0)
        assert world.counts[-1] == 0
        await world.end()

    run(inside())


def test_a_server_that_is_there_only_when_all_has_ended_is_ended_too() -> None:
    async def inside() -> None:
        world = HostedListener()
        world.opener.may.clear()
        await world.put(post(id=0, method="initialize"))
        await world.hosted.close()
        world.opener.may.set()
        await turns()
        assert world.link.is_closed
        await world.end()

    run(inside())


@pytest.mark.parametrize("how", ["DELETE", "the server"])
def test_a_call_that_is_judged_when_its_session_ends_is_answered_and_never_sent(how: str) -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call(1))
        if how == "DELETE":
            assert (await world.get("DELETE")).status == 204
        else:
            world.link.die()
        await turns()
        assert (client.json["id"], "error" in client.json) == (1, True)
        assert world.sessions.gate.trials[0].dropped
        assert world.link.got == []
        assert (await world.ask({"id": 2, "method": "ping"})).status == 404
        await world.end()

    run(inside())


def test_a_call_that_waits_for_an_answer_when_the_server_ends_gets_an_error_and_is_settled() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call(1, "quick"))
        world.link.die()
        await turns()
        assert (client.json["id"], client.json["error"]["code"]) == (1, -32000)
        assert world.sessions.gate.settled == [(1, Outcome.UNKNOWN)]
        assert world.sessions.gate.causes == [("ended", 0)]
        await world.end()

    run(inside())


def test_a_post_that_waits_for_room_when_its_session_ends_is_told_so() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        world.link.full(True)
        client = await world.ask(call(1, "quick"))
        await world.get("DELETE")
        await turns()
        assert client.status == 404
        assert world.sessions.gate.settled == []
        await world.end()

    run(inside())


def test_what_the_server_asks_while_a_call_is_judged_is_not_lost_when_the_call_is_refused() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        await world.ask(call(1))
        world.say(id=1, method="roots/list")
        world.sessions.gate.deny()
        listening = await world.get()
        assert [message["method"] for message in listening.messages] == ["roots/list"]
        await world.end()

    run(inside())


def test_what_the_server_says_goes_down_the_answer_that_it_belongs_to() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        first = await world.ask({"id": 1, "method": "ping", "params": {"_meta": {"progressToken": "t"}}})
        last = await world.ask({"id": 2, "method": "ping"})
        world.say(method="notifications/progress", params={"progressToken": "t"})
        world.say(method="notifications/message", params={})
        await turns()
        assert [message["method"] for message in first.messages] == ["notifications/progress"]
        assert [message["method"] for message in last.messages] == ["notifications/message"]
        await world.end()

    run(inside())


def test_a_request_that_is_given_up_ends_its_answer_and_the_server_hears_of_it() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call(1, "quick"))
        assert (await world.ask(cancel(1))).status == 202
        assert client.json["error"]["code"] == -32800
        assert world.link.got[-1]["method"] == "notifications/cancelled"
        await world.end()

    run(inside())


def test_a_late_answer_to_what_was_given_up_is_not_taken_for_that_of_its_fellow() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello("2025-03-26")
        client = await world.ask(call(1, "quick"), call(2, "quick"))
        await world.ask(cancel(1))
        world.say(id=1, result={})
        world.say(id=2, result={})
        await turns()
        assert [message["id"] for message in client.messages] == [1, 2]
        assert client.is_complete
        await world.end()

    run(inside())


def test_a_batch_of_refusals_and_notifications_is_answered_at_once() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello("2025-03-26")
        client = await world.ask(call(1, "odd"), {"method": "notifications/initialized"})
        assert [answer["id"] for answer in client.json] == [1]
        assert len(world.link.sent) == 1
        await world.end()

    run(inside())


def test_an_id_that_waits_elsewhere_is_refused_in_a_batch_which_ends_all_the_same() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello("2025-03-26")
        await world.ask({"id": 1, "method": "ping"})
        client = await world.ask({"id": 1, "method": "ping"}, {"id": 2, "method": "ping"})
        world.say(id=2, result={})
        await turns()
        assert client.is_complete
        await world.end()

    run(inside())


def test_an_answer_that_broke_off_is_taken_up_where_the_client_was() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask({"id": 1, "method": "ping"})
        world.say(method="notifications/message", params={"n": 1})
        await turns()
        position = client.events[-1].id
        client.leave()
        await turns()
        world.say(id=1, result={})
        again = await world.get(last_event_id=position or "")
        assert ([message["id"] for message in again.messages], again.is_complete) == ([1], True)
        await world.end()

    run(inside())


def test_a_stream_has_one_reader() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        await world.get()
        assert (await world.get()).status == 409
        await world.end()

    run(inside())


def test_a_position_that_nobody_was_told_is_no_way_to_skip_news() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        world.say(method="notifications/message", params={})
        listening = await world.get(last_event_id="0.999999")
        assert len(listening.messages) == 1
        await world.end()

    run(inside())


def test_two_slow_streams_of_one_session_stop_its_server_until_both_keep_up() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        (hosted,) = world.hosted._sessions
        streams = [hosted.answering(), hosted.answering()]
        for stream in streams:
            stream.read()
            stream.put(b"x" * (HIGH_WATER + 1))
        for stream in streams:
            stream.left()
        assert world.link.paused == [True, True, True, False]
        await world.end()

    run(inside())


# Legacy HTTP+SSE.


async def _opened(world: HostedListener) -> tuple[Client, Request]:
    client = await world.put(Request("GET", "/sse", "", Headers(), b"", 1), world.legacy)
    endpoint = client.events[0]
    assert endpoint.type == "endpoint"
    path, _, query = (endpoint.data or "").partition("?")
    return client, Request("POST", path, query, Headers(), line(id=1, method="ping"), 1)


def test_a_legacy_stream_is_a_session_that_ends_with_it() -> None:
    async def inside() -> None:
        world = HostedListener()
        client, message = await _opened(world)
        assert (await world.put(message, world.legacy)).status == 202
        world.say(id=1, result={})
        await turns()
        assert [one["id"] for one in client.messages] == [1]
        client.leave()
        await turns()
        assert (world.link.is_closed, world.counts[-1]) == (True, 0)
        assert (await world.put(message, world.legacy)).status == 404
        await world.end()

    run(inside())


def test_a_legacy_stream_ends_when_its_server_does() -> None:
    async def inside() -> None:
        world = HostedListener()
        client, message = await _opened(world)
        await world.put(message, world.legacy)
        world.link.die()
        await turns()
        assert ([one["error"]["code"] for one in client.messages], client.is_complete) == ([-32000], True)
        await world.end()

    run(inside())


def test_legacy_sessions_are_bounded_and_a_server_that_does_not_start_is_503() -> None:
    async def inside() -> None:
        world = HostedListener()
        for _ in range(2):
            await _opened(world)
        refused = await world.put(Request("GET", "/sse", "", Headers(), b"", 1), world.legacy)
        assert (refused.status, refused.json["error"]["code"]) == (503, -32000)
        assert refused.refused == ["full"]
        await world.end()

    run(inside())
