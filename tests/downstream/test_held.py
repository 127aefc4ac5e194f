"""A call that waits for a person, as each kind of HTTP answer carries it: what is told meanwhile, and who leaves."""

from __future__ import annotations

from typing import Any, Final, cast

import pytest

from sidecar.auth.caller import Caller
from sidecar.downstream import early_stream
from sidecar.downstream.eventids import EventIds
from sidecar.downstream.hosted import writer
from sidecar.downstream.post import Post
from sidecar.downstream.relay.client import Tracked
from sidecar.downstream.relay.request import Passage
from sidecar.downstream.relay.response import Passing
from sidecar.enforce.verdict import Hold
from sidecar.errors import StartError
from sidecar.http.client import ClientResponse, PendingRequest
from sidecar.http.values import Request
from sidecar.session.session import Session
from tests.downstream.fakes import Client, line, run, sent, turns
from tests.downstream.hosted.test_multiplexed import SharedServer
from tests.downstream.hosted.test_per_session import HostedListener
from tests.session.fakes import SlowGate
from tests.upstream.fakes import FakeAnswer, FakeRemote

HOLD: Final = Hold("apr_1", 45.0, "Ask", "", elicits=False)


def call(id_: int = 1, /, **meta: Any) -> dict[str, Any]:
    return {"id": id_, "method": "tools/call", "params": {"name": "look", "arguments": {}, "_meta": meta}}


TOLD: Final = {"progressToken": "t"}


# Sessions that we serve ourselves.


def test_hosted_progress_then_the_answer_come_down_the_call_s_own_stream() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call(**TOLD))
        world.sessions.gate.hold(HOLD)
        await turns()
        assert (client.is_complete, [message["method"] for message in client.messages]) == (
            False, ["notifications/progress"]
        )  # fmt: skip
        world.sessions.gate.allow()
        await turns()
        assert [message["id"] for message in world.link.got] == [1]
        world.say(method="notifications/progress", params={"progressToken": "t", "progress": 1})
        world.say(id=1, result={})
        await turns()
        assert client.is_complete
        assert [message.get("result", message.get("method")) for message in client.messages] == [
            "notifications/progress", "notifications/progress", {},
        ]  # fmt: skip
        assert all(event.id for event in client.events)
        await world.end()

    run(inside())


@pytest.mark.parametrize("allowed", [True, False])
def test_hosted_where_nothing_is_told_the_answer_is_plain_json(allowed: bool) -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call())
        world.sessions.gate.hold(HOLD)
        await turns()
        if allowed:
            world.sessions.gate.allow()
            await turns()
            world.say(id=1, result="allowed")
        else:
            world.sessions.gate.deny()
        await turns()
        assert client.json["result"] == ("allowed" if allowed else "denied")
        assert client.header("content-type") == "application/json"
        await world.end()

    run(inside())


def test_hosted_a_call_that_is_held_in_silence_says_that_it_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "BEAT", 0.001)

    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call())
        world.sessions.gate.hold(HOLD)
        while b":" not in client.body:
            await turns()
        world.sessions.gate.deny()
        await turns()
        assert [message["result"] for message in client.messages] == ["denied"]
        await world.end()

    run(inside())


def test_hosted_a_client_that_leaves_ends_the_wait_and_the_call_is_not_sent() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call(**TOLD))
        (trial,) = world.sessions.gate.trials
        world.sessions.gate.hold(HOLD)
        await turns()
        client.leave()
        await turns()
        assert (trial.dropped, world.link.sent) == (True, [])
        back = await world.get(last_event_id=client.events[0].id or "")
        assert [message["error"]["code"] for message in back.messages] == [-32800]
        await world.end()

    run(inside())


def test_hosted_a_cancel_and_the_end_of_the_session_end_the_wait() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        one, other = await world.ask(call(1)), await world.ask(call(2))
        trials = list(world.sessions.gate.trials)
        for trial in trials:
            trial.deliver(HOLD)
        await world.ask({"method": "notifications/cancelled", "params": {"requestId": 1}})
        assert (one.json["error"]["code"], trials[0].dropped, trials[1].dropped) == (-32800, True, False)
        await world.get("DELETE")
        await turns()
        assert (other.json["error"]["code"], trials[1].dropped, world.link.sent) == (-32800, True, [])
        await world.end()

    run(inside())


def test_hosted_a_server_that_ends_is_told_to_who_waits() -> None:
    async def inside() -> None:
        world = HostedListener()
        await world.hello()
        client = await world.ask(call())
        (trial,) = world.sessions.gate.trials
        world.sessions.gate.hold(HOLD)
        world.link.die()
        await turns(20)
        assert (client.json["error"]["code"], trial.dropped) == (-32000, True)
        await world.end()

    run(inside())


# One server for all.


def test_shared_progress_and_answer_have_the_names_that_the_client_gave() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(7, "tools/call", name="look", arguments={}, _meta=TOLD)
        world.sessions.gate.hold(HOLD)
        await turns()
        assert [message["params"]["progressToken"] for message in client.messages] == ["t"]
        assert world.opener.asked == 0
        world.sessions.gate.allow()
        await turns()
        world.say(id=world.name(), result="allowed")
        await turns()
        assert (client.messages[-1], client.is_complete) == ({"jsonrpc": "2.0", "id": 7, "result": "allowed"}, True)
        assert world.shared._asked == {}
        await world.end()

    run(inside())


def test_shared_a_refusal_after_the_wait_is_an_answer_and_no_server_starts() -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(7, "tools/call", name="look", arguments={})
        world.sessions.gate.hold(HOLD)
        await turns()
        world.sessions.gate.deny()
        await turns()
        assert (client.json["result"], world.opener.asked) == ("denied", 0)
        await world.end()

    run(inside())


@pytest.mark.parametrize("sent_on", [False, True])
def test_shared_a_client_that_leaves_ends_the_wait_or_the_call(sent_on: bool) -> None:
    async def inside() -> None:
        world = SharedServer()
        client = await world.ask(7, "tools/call", name="look", arguments={}, _meta=TOLD)
        (trial,) = world.sessions.gate.trials
        world.sessions.gate.hold(HOLD)
        await turns()
        if sent_on:
            world.sessions.gate.allow()
            await turns()
        client.leave()
        await turns()
        if sent_on:
            call, cancel = world.link.got
            assert (cancel["method"], cancel["params"]["requestId"]) == ("notifications/cancelled", call["id"])
        else:
            assert (trial.dropped, world.opener.asked) == (True, 0)
        assert world.shared._asked == {}
        await world.end()

    run(inside())


def test_shared_a_server_that_does_not_start_is_told() -> None:
    async def inside() -> None:
        world = SharedServer()

        async def fails() -> Any:
            raise StartError("no such command")

        world.shared._open_link = fails
        client = await world.ask(7, "tools/call", name="look", arguments={}, _meta=TOLD)
        world.sessions.gate.hold(HOLD)
        await turns()
        world.sessions.gate.allow()
        await turns()
        assert client.messages[-1]["error"]["message"] == "no such command"
        await world.end()

    run(inside())


# A server over HTTP.


class Answer(FakeAnswer):
    """An answer whose body has not come with its head."""

    def whole(self, limit: int) -> None:
        """Not yet."""


class Way:
    """Keeps what is asked of the server."""

    def __init__(self) -> None:
        self.asked: list[PendingRequest] = []
        remote = FakeRemote().remote
        self.passing = Passing(remote, lambda event: None, "s", EventIds(), cookies=False)

    def ask(self, post: Post, tracked: Tracked, request: Request, asking: PendingRequest) -> None:
        post.take()
        self.asked.append(asking)

    def reserve(self, tracked: Tracked) -> None:
        """There is room."""

    def opened(self, answer: ClientResponse | None, post: Post, tracked: Tracked) -> None:
        """Nothing is opened."""


class RelayedCall:
    """A call that is held on its way to a server over HTTP."""

    def __init__(self, accept: str = "application/json, text/event-stream", **meta: Any) -> None:
        self.client, self.way, self.gate = Client(), Way(), SlowGate()
        request = sent(line(**call(**meta)), {"accept": accept})
        self.tracked = tracked = Tracked(self._open, None, "2025-11-25", lambda *_: None)
        self.over: list[str] = []
        Passage(
            self.way, Post(request.headers), tracked, request, self.client.exchange, lambda: self.over.append("over")
        ).begin()
        (self.trial,) = self.gate.trials
        self.gate.hold(HOLD)

    def _open(self, tracked: Tracked, *_: Any) -> Session:
        return Session(
            server="s", caller=Caller("s"), gate=self.gate, emit=lambda event: None, route=tracked.route,
            announce=tracked.announce,
        )  # fmt: skip

    def cancel(self) -> None:
        """The client gives the call up."""
        given_up = line(method="notifications/cancelled", params={"requestId": 1})
        self.tracked.session.from_client(given_up, self.tracked.route)

    async def answer(self, status: int, kind: str, body: bytes) -> None:
        """Let the call go on, and answer it."""
        self.gate.allow()
        self.way.asked[0].answered(cast("ClientResponse", Answer(status, kind, body)))
        await turns(20)


RESULT: Final = line(id=1, result="allowed")
ANSWERS: Final = [
    ("application/json", RESULT), ("text/event-stream", b"data: %b\n\n" % RESULT),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "body"), ANSWERS)
@pytest.mark.parametrize("accept", ["application/json, text/event-stream", "*/*", "text/event-stream"])
def test_relayed_progress_and_then_the_answer_are_events_whatever_the_server_answers_with(
    kind: str, body: bytes, accept: str
) -> None:
    async def inside() -> None:
        world = RelayedCall(accept, **TOLD)
        assert [message["method"] for message in world.client.messages] == ["notifications/progress"]
        assert not world.client.is_complete
        await world.answer(200, kind, body)
        assert [message.get("result") for message in world.client.messages] == [None, "allowed"]
        assert (world.client.is_complete, world.client.header("content-type"), world.over) == (
            True, "text/event-stream", ["over"]
        )  # fmt: skip

    run(inside())


@pytest.mark.parametrize(("kind", "body"), ANSWERS)
def test_relayed_where_nothing_is_told_the_answer_is_what_it_would_be(kind: str, body: bytes) -> None:
    async def inside() -> None:
        world = RelayedCall()
        assert world.client.head == b""
        await world.answer(200, kind, body)
        assert (world.client.is_complete, world.client.header("content-type")) == (True, kind)

    run(inside())


def test_relayed_a_client_that_takes_no_events_gets_none() -> None:
    async def inside() -> None:
        world = RelayedCall("application/json", **TOLD)
        assert world.client.head == b""
        await world.answer(200, "application/json", RESULT)
        assert world.client.json["result"] == "allowed"

    run(inside())


@pytest.mark.parametrize(
    ("status", "kind", "body", "code"),
    [
        (500, "text/plain", b"broken", -32000), (404, "text/plain", b"", -32000), (307, "", b"", -32000),
        (400, "application/json", line(id=1, error={"code": -32602, "message": "odd"}), -32602),
        (200, "text/html", b"<p>", -32000), (200, "application/json", b"", -32000),
        (200, "application/json", line(id=2, result={}), -32000), (200, "text/event-stream", b"", -32000),
    ],
)  # fmt: skip
def test_relayed_what_the_server_refuses_after_the_stream_began_is_an_error_on_it(
    status: int, kind: str, body: bytes, code: int
) -> None:
    async def inside() -> None:
        world = RelayedCall(**TOLD)
        await world.answer(status, kind, body)
        last = world.client.messages[-1]
        assert (last["id"], last["error"]["code"], world.client.is_complete) == (1, code, True)
        assert world.gate.settled[0][0] == 1

    run(inside())


def test_relayed_what_is_no_message_is_no_event_though_nobody_waits_any_more() -> None:
    async def inside() -> None:
        world = RelayedCall(**TOLD)
        world.gate.allow()
        world.cancel()
        world.way.asked[0].answered(cast("ClientResponse", Answer(500, "text/plain", b"not\n\ndata: JSON")))
        await turns(20)
        assert [message.get("method") for message in world.client.messages] == ["notifications/progress"]
        assert world.client.is_complete

    run(inside())


def test_relayed_a_refusal_after_the_wait_ends_the_stream() -> None:
    async def inside() -> None:
        world = RelayedCall(**TOLD)
        world.gate.deny()
        await turns()
        assert (world.client.messages[-1]["result"], world.client.is_complete) == ("denied", True)
        assert (world.way.asked, world.over) == ([], ["over"])

    run(inside())


@pytest.mark.parametrize("meta", [TOLD, {}])
def test_relayed_a_client_that_leaves_ends_the_wait(meta: dict[str, Any]) -> None:
    async def inside() -> None:
        world = RelayedCall(**meta)
        world.client.leave()
        await turns()
        assert (world.trial.dropped, world.way.asked, world.over) == (True, [], ["over"])

    run(inside())


def test_relayed_a_call_that_is_held_in_silence_says_that_it_is_alive_also_while_the_server_thinks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(early_stream, "BEAT", 0.001)

    async def inside() -> None:
        world = RelayedCall()
        while world.client.body.count(b":") < 2:
            await turns()
        world.gate.allow()
        before = world.client.body.count(b":")
        while world.client.body.count(b":") == before:
            await turns()
        world.way.asked[0].answered(cast("ClientResponse", Answer(200, "application/json", RESULT)))
        await turns(20)
        assert [message["result"] for message in world.client.messages] == ["allowed"]

    run(inside())
