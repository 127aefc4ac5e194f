"""One server for all clients of the stateless revision: none hears of another, and what each wrote stays as it was."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from sidecar.downstream.hosted.multiplexed import Shared
from sidecar.http.values import Request
from sidecar.mcp.protocol import OF_STATELESS_CLIENTS
from sidecar.mcp.strict_json import encode
from sidecar.mcp.tool_call import Outcome
from sidecar.session.reading import LARGE
from sidecar.upstream.failure import Failure, NotConnected
from tests.downstream.fakes import Client, FakeLink, Opener, Sessions, line, post, run, sent, turns

STATELESS = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


class SharedServer:
    """Clients of a shared server."""

    def __init__(self) -> None:
        self.opener = Opener()
        self.sessions = Sessions()
        self.shared = Shared(self.opener, self.sessions, self.sessions.events.append, "stub")
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def link(self) -> FakeLink:
        return self.opener.links[-1]

    async def ask(self, id_: Any, method: str = "resources/list", **params: Any) -> Client:
        """A request of a new client, sent as far as it goes."""
        params["_meta"] = STATELESS | params.get("_meta", {})
        return await self.put(post(stateless(method, params), id=id_, method=method, params=params))

    async def put(self, request: Request) -> Client:
        client = Client()
        self.tasks.append(asyncio.create_task(self.shared.post(request, client.exchange, None)))
        await turns()
        return client

    def say(self, **members: Any) -> None:
        self.link.say(line(**members))

    def name(self, place: int = 0) -> str:
        """What the request is called that the server got at a place."""
        found: str = self.link.got[place]["id"]
        return found

    async def end(self) -> None:
        await turns()
        await self.shared.end()
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def stateless(method: str, params: dict[str, Any]) -> dict[str, str]:
    name = {"mcp-name": params["name"]} if "name" in params else {}
    return {"mcp-protocol-version": "2026-07-28", "mcp-method": method, **name}


def test_two_clients_with_one_id_each_get_their_own_answer_with_it() -> None:
    async def inside() -> None:
        world = SharedServer()
        one, other = await world.ask(7, a=1), await world.ask("7", a=2)
        numbers = [message["id"] for message in world.link.got]
        assert (len(set(numbers)), world.opener.asked) == (2, 1)
        world.say(id=numbers[1], result={"to": "other"})
        world.say(id=numbers[0], result={"to": "one"})
        await turns()
        assert (one.json["id"], one.json["result"]) == (7, {"to": "one"})
        assert (other.json["id"], other.json["result"]) == ("7", {"to": "other"})
        await world.end()

    run(inside())


def test_numbers_stay_as_they_were_written_in_both_directions() -> None:
    async def inside() -> None:
        world = SharedServer()
        body = (
            b'{"jsonrpc":"2.0","id":"x","method":"vendor/m","params":{"n":1.10,"big":123456789012345678901234567890,'
            b'"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}'
        )
        client = await world.put(sent(body, stateless("vendor/m", {})))
        name = world.name()
        assert world.link.sent == [body.replace(b'"x"', encode(name))]
        world.link.say(b'{"jsonrpc":"2.0","id":%b,"result":{"n":1.10,"e":1e300}}' % encode(name))
        await turns()
        assert client.body == b'{"jsonrpc":"2.0","id":"x","result":{"n":1.10,"e":1e300}}'
        await world.end()

    run(inside())


FOREIGN = ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list"]


@pytest.mark.parametrize("method", [*FOREIGN, "tasks/result", "sampling/createMessage", "notifications/initialized"])
def test_a_method_that_the_revision_does_not_have_reaches_no_server_that_others_share(method: str) -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(5, method, protocolVersion="2025-11-25")
        assert (client.status, client.json["id"], client.json["error"]["code"]) == (404, 5, -32601)
        assert world.opener.asked == 0
        await world.end()

    run(inside())


@pytest.mark.parametrize("method", [*sorted(OF_STATELESS_CLIENTS - {"notifications/cancelled"}), "vendor/x"])
def test_every_method_that_it_has_and_those_of_nobody_reach_it(method: str) -> None:
    async def inside() -> None:
        world = SharedServer()
        params = {"name": "quick"} if method in ("tools/call", "prompts/get") else {}
        await world.ask(5, method, **params)
        assert [message["method"] for message in world.link.got] == [method]
        await world.end()

    run(inside())


@pytest.mark.parametrize(
    "params", ["null", "{}", '{"_meta":{}}', '{"_meta":{"io.modelcontextprotocol/protocolVersion":7}}']
)
@pytest.mark.parametrize("method", ["tools/list", "vendor/x"])
def test_a_request_that_does_not_say_its_revision_itself_reaches_no_server_that_others_share(
    method: str, params: str
) -> None:
    """The reference server would speak the old revision with everybody from then on."""

    async def inside() -> None:
        world = SharedServer()
        body = f'{{"jsonrpc":"2.0","id":5,"method":"{method}","params":{params}}}'.encode()
        client = await world.put(sent(body, {"mcp-protocol-version": "2026-07-28"}))
        assert (client.status, client.json["id"], client.json["error"]["code"]) == (400, 5, -32602)
        assert world.opener.asked == 0
        await world.end()

    run(inside())


def test_what_requests_are_called_at_the_server_cannot_be_guessed() -> None:
    async def inside() -> None:
        world = SharedServer()
        for _ in range(20):
            await world.ask(1, _meta={"progressToken": 1})
        names = [world.name(place) for place in range(20)]
        assert len(set(names)) == 20
        assert all(len(name) >= 22 for name in names)  # 128 bits
        assert len({name[:4] for name in names}) > 15
        await world.end()

    run(inside())


@pytest.mark.parametrize(
    "news",
    [
        {"method": "notifications/progress", "params": {"progressToken": token, "progress": 1, "message": "a"}}
        for token in (1, 2, "1", "2", 0, None, True, 1.0)
    ]
    + [
        {"method": "notifications/cancelled", "params": {"requestId": 1}},
        {"method": "notifications/x", "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": 1}}},
    ],
)
def test_a_tool_that_sends_what_it_is_told_to_reaches_no_request_of_another_client(news: dict[str, Any]) -> None:
    async def inside() -> None:
        world = SharedServer()
        mine = await world.ask(1, _meta={"progressToken": 1})
        await world.ask(2, "tools/call", name="quick", _meta={"progressToken": 2})
        world.say(**news)
        await turns()
        assert mine.head == b""
        assert world.sessions.dropped == ["news that name no request"]
        await world.end()

    run(inside())


def test_progress_is_told_under_the_clients_own_token_and_only_to_whom_asked() -> None:
    async def inside() -> None:
        world = SharedServer()
        one, other = await world.ask(1, _meta={"progressToken": "mine"}), await world.ask(1)
        first, second = (message["id"] for message in world.link.got)
        assert world.link.got[0]["params"]["_meta"]["progressToken"] == first
        for token in (first, second, "mine", 99):
            world.say(method="notifications/progress", params={"progressToken": token, "progress": 1})
        for number in (first, second):
            world.say(id=number, result={})
        await turns()
        assert one.messages[0]["params"] == {"progressToken": "mine", "progress": 1}
        assert len(one.messages) == 2
        assert other.json["id"] == 1
        assert len(world.sessions.dropped) == 3
        await world.end()

    run(inside())


def test_news_of_a_subscription_comes_under_the_clients_own_id() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask("sub", "subscriptions/listen", notifications={})
        await world.ask(2)
        key = "io.modelcontextprotocol/subscriptionId"
        number = world.link.got[0]["id"]
        world.say(method="notifications/resources/updated", params={"uri": "u", "_meta": {key: number}})
        await turns()
        assert client.messages[0]["params"]["_meta"] == {key: "sub"}
        await world.end()

    run(inside())


def test_news_that_name_no_request_reach_nobody_though_only_one_asks() -> None:
    """They may be late, and about the call of another client."""

    async def inside() -> None:
        world = SharedServer()
        one = await world.ask(1, "tools/call", name="quick")
        world.say(id=world.name(), result={})
        await turns()
        other = await world.ask(2)
        world.say(method="notifications/message", params={"data": "what one asked for"})
        world.say(id=world.name(1), result={})
        await turns()
        assert (one.json["id"], other.json) == (1, {"jsonrpc": "2.0", "id": 2, "result": {}})
        assert world.sessions.dropped == ["news that name no request"]
        await world.end()

    run(inside())


@pytest.mark.parametrize("members", [{"id": 99, "result": {}}, {"id": "1", "result": {}}, {"id": 1.0, "result": {}}])
def test_an_answer_to_no_request_goes_nowhere(members: dict[str, Any]) -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(1)
        world.say(**members)
        await turns()
        assert (client.head, len(world.sessions.dropped)) == (b"", 1)
        await world.end()

    run(inside())


def test_a_request_of_the_server_is_answered_by_us_because_this_revision_has_none() -> None:
    async def inside() -> None:
        world = SharedServer()
        await world.ask(1)
        world.say(id="s", method="sampling/createMessage")
        assert (world.link.got[-1]["id"], world.link.got[-1]["error"]["code"]) == ("s", -32600)
        await world.end()

    run(inside())


@pytest.mark.parametrize(
    "broken",
    [
        b'{"jsonrpc":"2.0","id":%b,"result":NaN}', b'{"jsonrpc":"2.0","id":%b,"result":{"method":"x","a":"\xff"}}',
        b'{"jsonrpc":"2.0","id":%b,"result":{"a":"\x01"}}', b'{"jsonrpc":"2.0","id":%b}',
    ],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_an_error_for_its_client(broken: bytes) -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask("mine")
        world.link.say(broken % encode(world.name()))
        await turns()
        assert (client.json["id"], client.json["error"]["code"]) == ("mine", -32603)
        await world.end()

    run(inside())


def test_a_client_that_leaves_cancels_its_own_call_once_and_settles_it() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask("mine", "tools/call", name="quick")
        await world.ask("mine")
        client.leave()
        await turns()
        cancels = [message for message in world.link.got if message["method"] == "notifications/cancelled"]
        assert [message["params"] for message in cancels] == [{"requestId": world.link.got[0]["id"]}]
        assert world.sessions.gate.settled == [("mine", Outcome.UNKNOWN)]
        world.say(id=world.link.got[0]["id"], result={})
        assert world.sessions.gate.settled == [("mine", Outcome.UNKNOWN)]
        await world.end()

    run(inside())


def test_a_client_that_leaves_while_its_call_is_judged_leaves_nothing_at_the_server() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(1, "tools/call", name="look")
        client.leave()
        await turns()
        assert world.opener.asked == 0
        assert world.sessions.gate.trials[0].dropped
        await world.end()

    run(inside())


def test_a_client_whose_answer_came_cancels_nothing_when_it_leaves() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(1)
        world.say(id=world.name(), result={})
        await turns()
        client.leave()
        await turns()
        assert len(world.link.got) == 1
        await world.end()

    run(inside())


def test_when_the_server_ends_everybody_is_answered_and_a_new_one_starts_after_a_pause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def inside() -> None:
        world = SharedServer()
        clients = [await world.ask(1), await world.ask(2)]
        world.link.die()
        await turns()
        assert [client.json["error"]["code"] for client in clients] == [-32000, -32000]
        refused = await world.ask(3)
        assert refused.json["error"]["message"] == "the MCP server ended just now: try again"
        monkeypatch.setattr(world.shared, "_not_before", 0.0)
        await world.ask(4)
        assert (world.opener.asked, len(world.link.got)) == (2, 1)
        await world.end()

    run(inside())


def test_a_client_that_leaves_while_the_server_starts_takes_it_from_nobody() -> None:
    async def inside() -> None:
        world = SharedServer()
        world.opener.may.clear()
        first, second = await world.ask(1), await world.ask(2)
        first.leave()
        await turns()
        world.opener.may.set()
        await turns()
        assert (world.opener.asked, len(world.link.got)) == (1, 1)
        world.say(id=world.link.got[0]["id"], result={})
        await turns()
        assert second.json["id"] == 2
        await world.end()

    run(inside())


def test_a_server_that_does_not_start_is_an_error_for_each_who_waits() -> None:
    async def inside() -> None:
        world = SharedServer()

        async def fails() -> FakeLink:
            raise NotConnected(Failure("no such command", Outcome.NOT_RUN, "dns"))

        world.shared = Shared(fails, world.sessions, world.sessions.events.append, "stub")
        client = await world.ask("mine", "tools/call", name="quick")
        assert (client.json["id"], client.json["error"]["message"]) == ("mine", "no such command")
        assert world.sessions.gate.settled == [("mine", Outcome.NOT_RUN)]
        assert world.sessions.gate.causes == [("dns", 0)]
        await world.end()

    run(inside())


def test_a_request_that_waits_for_room_at_a_server_that_ends_goes_to_no_dead_server() -> None:
    async def inside() -> None:
        world = SharedServer()
        await world.ask(1)
        world.link.full(True)
        waiting = await world.ask(2)
        assert len(world.link.got) == 1
        world.link.die()
        await turns()
        assert waiting.json["error"]["code"] == -32000
        assert len(world.link.got) == 1
        await world.end()

    run(inside())


def test_a_notification_goes_nowhere_and_is_accepted() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.put(post(method="notifications/initialized"))
        assert (client.status, world.opener.asked) == (202, 0)
        await world.end()

    run(inside())


def test_the_server_is_stopped_only_while_no_client_keeps_up() -> None:
    async def inside() -> None:
        world = SharedServer()
        await world.ask(1)
        await world.ask(2)
        before = len(world.link.paused)
        for now in (True, True, False, False):
            world.shared._hold(now)
        assert world.link.paused[before:] == [False, True, False, False]
        for task in world.tasks:
            task.cancel()
        await asyncio.wait(world.tasks)

    run(inside())


def test_changed_tools_are_told_to_subscriptions_for_them() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask("sub", "subscriptions/listen", notifications={"toolsListChanged": True})
        other = await world.ask(1)
        world.shared.tools_changed()
        await turns()
        assert json.loads(client.events[0].data or "")["method"] == "notifications/tools/list_changed"
        assert other.head == b""
        await world.end()

    run(inside())


def test_while_a_large_answer_is_read_nothing_more_is_taken_from_the_server_and_all_come_in_their_order() -> None:
    async def inside() -> None:
        world = SharedServer()
        one, other = await world.ask(1), await world.ask(2)
        pad = "x" * (LARGE + 1)
        world.say(id=world.name(0), result={"pad": pad})
        world.say(id=world.name(1), result={})
        assert (one.is_complete, other.is_complete) == (False, False)
        while_reading = world.link.paused[-1]
        await asyncio.wait(world.tasks)
        assert (one.json["result"], other.json["result"]) == ({"pad": pad}, {})
        assert (while_reading, world.link.paused[-1]) == (True, False)
        await world.end()

    run(inside())


def test_a_large_answer_that_is_read_when_the_shared_server_ends_is_passed_on() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(1)
        world.say(id=world.name(), result={"pad": "x" * (LARGE + 1)})
        world.link.die()
        await asyncio.wait(world.tasks)
        assert "result" in client.json
        await world.end()

    run(inside())
