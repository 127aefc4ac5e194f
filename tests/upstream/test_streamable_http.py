"""A remote server as a connection: what a client of streamable HTTP does, done for one that is none."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from sidecar.errors import InvalidMessage
from sidecar.http.client import Lost, Unreachable
from sidecar.http.hop_by_hop import Fields
from sidecar.http.sse import Event
from sidecar.http.values import Headers
from sidecar.mcp.jsonrpc import Id
from sidecar.mcp.tool_call import Outcome
from sidecar.system.sparing import MOST
from sidecar.upstream import streamable_http
from sidecar.upstream.streamable_http import HttpLink
from tests.downstream.fakes import line, run, turns
from tests.engine.asking import soon
from tests.session.fakes import batch, outgoing
from tests.upstream.fakes import FakeAnswer, FakeRemote, Heard, HeldAnswer, as_events, as_json, event

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}


class BegunLink:
    """A link that has begun."""

    def __init__(self, *answers: FakeAnswer | Exception) -> None:
        self.server = FakeRemote(list(answers))
        self.heard = Heard()
        self.link = HttpLink(self.server.remote)
        self.heard.begin(self.link)

    async def say(self, **members: Any) -> None:
        self.link.send(outgoing(line(**members)))
        await turns(30)

    async def hello(self) -> None:
        """Initialize, with a session."""
        hello = FakeAnswer(
            200, "application/json", line(id=0, result={"protocolVersion": "2025-06-18"}), mcp_session_id="s-1"
        )
        self.server.answers.insert(0, hello)
        await self.say(id=0, method="initialize")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamable_http, "RECONNECT", 0.0)
    monkeypatch.setattr(streamable_http, "MIN_RECONNECT", 0.0)


def test_the_session_and_the_revision_go_with_everything_after_initialize() -> None:
    async def inside() -> None:
        world = BegunLink()
        await world.hello()
        await world.say(id=1, method="ping")
        first, second = world.server.sent
        assert "mcp-session-id" not in first.headers
        assert (second.headers["mcp-session-id"], second.headers["mcp-protocol-version"]) == ("s-1", "2025-06-18")
        await world.link.stop(ask=False)
        assert (world.server.sent[-1].method, world.server.sent[-1].headers["mcp-session-id"]) == ("DELETE", "s-1")

    run(inside())


def test_the_operators_headers_win() -> None:
    async def inside() -> None:
        world = BegunLink()
        world.server.own = [("accept", "x"), ("authorization", "y")]
        await world.say(id=1, method="ping")
        assert (world.server.sent[0].headers["accept"], world.server.sent[0].headers["authorization"]) == ("x", "y")

    run(inside())


def test_notifications_and_answers_go_in_their_order_and_before_what_comes_after() -> None:
    async def inside() -> None:
        world = BegunLink()
        for message in ({"method": "a"}, {"method": "b"}, {"id": 1, "method": "c"}, {"method": "d"}):
            world.link.send(outgoing(line(**message)))
        await turns(40)
        posted = world.server.posted
        assert posted.index("a") < posted.index("b") < posted.index("c")
        assert posted.index("b") < posted.index("d")

    run(inside())


def test_a_batch_goes_message_by_message_and_each_request_is_answered() -> None:
    async def inside() -> None:
        world = BegunLink(FakeAnswer(), as_json(id=1, result={}), as_json(id=2, result={}))
        messages = [line(method="a"), line(id=1, method="b"), line(id=2, method="c")]
        world.link.send(outgoing(batch(*messages)))
        await turns(40)
        assert world.server.posted == ["a", "b", "c"]
        assert [message["id"] for message in world.heard.messages] == [1, 2]

    run(inside())


def test_it_listens_after_initialized_where_the_server_offers_that() -> None:
    async def inside() -> None:
        world = BegunLink()
        await world.hello()
        world.server.answers += [FakeAnswer(), as_events(event(method="notifications/message")), FakeAnswer(405)]
        await world.say(method="notifications/initialized")
        assert [one.method for one in world.server.sent] == ["POST", "POST", "GET", "GET"]
        assert world.heard.messages[-1]["method"] == "notifications/message"

    run(inside())


def test_a_cancel_is_a_message_before_the_stateless_revision_and_the_end_of_the_request_from_it_on() -> None:
    async def inside() -> None:
        world = BegunLink(as_json(id=1, result={}))
        await world.say(id=1, method="ping")
        await world.say(method="notifications/cancelled", params={"requestId": 1})
        assert world.server.posted[-1] == "notifications/cancelled"
        world.link.pause(True)  # so that the answer is not taken yet
        world.server.answers = [as_json(id=2, result={})]
        await world.say(id=2, method="ping", params={"_meta": META})
        await world.say(method="notifications/cancelled", params={"requestId": 2})
        world.link.pause(False)
        await turns()
        assert world.server.posted[-1] == "ping"
        assert [message["id"] for message in world.heard.messages] == [1]

    run(inside())


@pytest.mark.parametrize("breaks", [False, True])
def test_a_stream_that_ends_before_the_answer_is_taken_up_where_it_was(breaks: bool) -> None:
    async def inside() -> None:
        world = BegunLink(
            as_events(Event("", id="e1", retry=0), breaks=breaks),
            Lost("again"),
            as_events(event("e2", id=1, result={})),
        )
        await world.say(id=1, method="ping")
        assert [one.headers.get("last-event-id") for one in world.server.sent] == [None, "e1", "e1"]
        assert [message["id"] for message in world.heard.messages] == [1]

    run(inside())


def test_a_server_that_lets_itself_be_asked_again_and_again_is_asked_as_long_as_it_says_something() -> None:
    async def inside() -> None:
        polls = [as_events(Event("", id=f"e{number}", retry=0)) for number in range(3 * streamable_http.ATTEMPTS)]
        world = BegunLink(*polls, as_events(event(id=1, result={})))
        await world.say(id=1, method="ping")
        await turns(200)
        assert [message["id"] for message in world.heard.messages] == [1]

    run(inside())


def test_a_stream_that_stays_silent_is_given_up_after_some_attempts() -> None:
    async def inside() -> None:
        world = BegunLink(as_events(Event("", id="e1", retry=0)), *(as_events() for _ in range(50)))
        await world.say(id=1, method="ping")
        await turns(200)
        assert world.heard.outcomes[0] == (1, Outcome.UNKNOWN)
        assert len(world.server.sent) <= streamable_http.ATTEMPTS + 2

    run(inside())


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Unreachable("x"), Outcome.NOT_RUN), (Lost("x"), Outcome.UNKNOWN), (FakeAnswer(400), Outcome.UNKNOWN),
        (FakeAnswer(401), Outcome.NOT_RUN), (FakeAnswer(302), Outcome.NOT_RUN), (FakeAnswer(303), Outcome.UNKNOWN),
        (FakeAnswer(500), Outcome.UNKNOWN),
        (FakeAnswer(503), Outcome.UNKNOWN), (FakeAnswer(202), Outcome.UNKNOWN),
        (FakeAnswer(200, "text/html", b"<html>"), Outcome.UNKNOWN), (as_events(breaks=True), Outcome.UNKNOWN),
    ],
)  # fmt: skip
def test_each_way_of_getting_no_answer_says_whether_the_call_may_have_run(
    answer: FakeAnswer | Exception, outcome: Outcome
) -> None:
    async def inside() -> None:
        world = BegunLink(answer)
        await world.say(id=1, method="tools/call", params={"name": "t"})
        assert world.heard.outcomes == [(1, outcome)]
        assert world.heard.messages == []

    run(inside())


def test_the_servers_own_error_about_a_request_goes_to_the_client_and_one_about_another_does_not() -> None:
    async def inside() -> None:
        error = {"code": -32600, "message": "no"}
        world = BegunLink(as_json(400, id=1, error=error), as_json(400, id="2", error=error))
        await world.say(id=1, method="ping")
        await world.say(id=2, method="ping")
        assert [message["id"] for message in world.heard.messages] == [1]
        assert (2, Outcome.UNKNOWN) in world.heard.outcomes

    run(inside())


NO_SESSION = (
    b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request: No valid session ID provided"}}'
)


class Forgetful(FakeRemote):
    """A server with sessions that can forget them all; it notes what ran in which. `refuses` are unknown sessions."""

    def __init__(self, refuses: FakeAnswer, *, revision: str = "2025-06-18", events: bool = False) -> None:
        super().__init__()
        self.refuses = refuses
        self.revision = revision
        self.events_too = events
        self.opened = 0
        self.known = ""
        self.opens = True
        self.ran: list[tuple[str, str]] = []

    def forget(self) -> None:
        self.known = ""

    async def send(self, method: str, headers: Fields, body: bytes = b"", *, target: str | None = None) -> FakeAnswer:
        message = json.loads(body or b"{}")
        await turns(3)
        answer = self._answered(method, headers, message)
        await self.holding(body)
        return answer

    def _answered(self, method: str, headers: Fields, message: Any) -> FakeAnswer:
        if message.get("method") == "initialize":
            assert "mcp-session-id" not in dict(headers)
            return self._open(message["id"])
        if dict(headers).get("mcp-session-id") != self.known:
            return deepcopy(self.refuses)
        if method != "POST":
            return FakeAnswer(405)
        self.ran.append((self.known, message["method"]))
        return as_json(id=message["id"], result={}) if "id" in message else FakeAnswer(202)

    def _open(self, id_: Id) -> FakeAnswer:
        if not self.opens:
            return FakeAnswer(503)
        self.opened += 1
        self.known = f"s-{self.opened}"
        result: dict[str, Any] = {"id": id_, "result": {"protocolVersion": self.revision}}
        answer = as_events(event(**result)) if self.events_too else as_json(**result)
        answer.headers = Headers([*answer.headers, ("mcp-session-id", self.known)])
        return answer


class Forgotten:
    """A link to a server that has just forgotten its session."""

    def __init__(self, server: Forgetful) -> None:
        self.server = server
        self.heard = Heard()
        self.link = HttpLink(server.remote)
        self.heard.begin(self.link)

    @property
    def failed(self) -> list[tuple[Id, Outcome]]:
        """The requests that no message answered, and whether they may have run."""
        answered = [message["id"] for message in self.heard.messages]
        return [(id_, outcome) for id_, outcome in self.heard.outcomes if id_ not in answered]

    async def hello(self) -> None:
        self.link.send(outgoing(line(id=0, method="initialize")))
        await turns(30)
        self.link.send(outgoing(line(method="notifications/initialized")))
        await turns(30)
        self.server.forget()
        self.server.ran.clear()

    async def call(self, *ids: Id) -> None:
        for id_ in ids:
            self.link.send(outgoing(line(id=id_, method="tools/call", params={"name": "t"})))
        await turns(100)


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("refuses", [FakeAnswer(404), FakeAnswer(404, "text/plain", b"x")])
def test_where_the_server_forgot_the_session_another_is_opened_and_what_did_not_run_is_put_again(
    refuses: FakeAnswer, events: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(refuses, events=events))
        await world.hello()
        await world.call(1, 2)
        assert world.server.ran[0] == ("s-2", "notifications/initialized")
        assert world.server.ran[1:] == [("s-2", "tools/call")] * 2
        assert sorted(message["id"] for message in world.heard.messages) == [0, 1, 2]
        assert world.failed == []
        world.server.forget()
        await world.call(3)
        assert world.server.ran[-1] == ("s-3", "tools/call")

    run(inside())
    assert "the MCP server forgot the session, another one is open" in caplog.text


def test_a_server_that_forgets_every_session_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        for id_ in range(1, MOST + 20):
            await world.call(id_)
            world.server.forget()

    run(inside())
    said = [one for one in caplog.messages if "forg" in one]
    assert len(said) == MOST + 1
    assert said[-1] == "more sessions are forgotten by the MCP server"


def test_a_status_400_about_the_session_opens_another_in_which_all_but_calls_are_put_again() -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(400, "application/json", NO_SESSION)))
        await world.hello()
        world.link.send(outgoing(line(id=1, method="ping")))
        await turns(100)
        assert world.server.ran[-1] == ("s-2", "ping")
        world.server.forget()
        await world.call(2)
        assert world.failed == [(2, Outcome.UNKNOWN)]
        await world.call(3)
        assert world.server.ran[-1] == ("s-3", "tools/call")

    run(inside())


def test_a_call_that_ran_before_the_server_spoke_of_a_session_runs_only_once() -> None:
    class Late(Forgetful):
        def _answered(self, method: str, headers: Fields, message: Any) -> FakeAnswer:
            answer = super()._answered(method, headers, message)
            error = {"code": -32602, "message": "output: invalid value for 'session'"}
            return as_json(400, id=None, error=error) if message.get("method") == "tools/call" else answer

    async def inside() -> None:
        world = Forgotten(Late(FakeAnswer(404)))
        await world.hello()
        world.server.known = "s-1"
        world.server.ran.clear()
        await world.call(1)
        assert [ran for ran in world.server.ran if ran[1] == "tools/call"] == [("s-1", "tools/call")]
        assert world.failed == [(1, Outcome.UNKNOWN)]

    run(inside())


CANCEL = line(method="notifications/cancelled", params={"requestId": 1})


@pytest.mark.parametrize("held", ["tools/call", "initialize"])
def test_what_is_cancelled_before_the_server_had_it_is_not_put_again_and_did_not_run(held: str) -> None:
    """The call, or the other session that it needs, is under way when the cancel comes."""

    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        release = world.server.hold(held)
        await world.call(1)
        world.link.send(outgoing(CANCEL))
        await turns(30)
        release.set()
        await turns(100)
        assert ("s-2", "tools/call") not in world.server.ran
        assert world.failed == [(1, Outcome.NOT_RUN)]

    run(inside())


@pytest.mark.parametrize("stateless", [False, True])
def test_what_is_cancelled_while_it_waits_here_is_not_sent(stateless: bool) -> None:
    async def inside() -> None:
        world = BegunLink()
        release = world.server.hold("held")
        await world.say(method="held")
        params = {"name": "t", **({"_meta": META} if stateless else {})}
        world.link.send(outgoing(line(id=1, method="tools/call", params=params)))
        world.link.send(outgoing(CANCEL))
        release.set()
        await turns(50)
        assert world.server.posted == ["held"]
        assert world.heard.outcomes == [(1, Outcome.NOT_RUN)]
        # Nothing of it is left: the next one with its id is another.
        await world.say(id=1, method="tools/call", params=params)
        assert world.server.posted == ["held", "tools/call"]

    run(inside())


def test_what_is_cancelled_while_marked_arguments_are_learnt_did_not_run() -> None:
    async def inside() -> None:
        world = BegunLink(as_json(400, id=1, error=MISMATCH), as_json(id="x", result=TOOLS))
        release = world.server.hold("tools/list")
        params = {"name": "t", "arguments": {"r": "eu"}, "_meta": META}
        await world.say(id=1, method="tools/call", params=params)
        world.link.send(outgoing(CANCEL))
        release.set()
        await turns(50)
        assert world.server.posted == ["tools/call", "tools/list"]
        assert world.heard.outcomes == [(1, Outcome.NOT_RUN)]

    run(inside())


@pytest.mark.parametrize("again", [[], [event(id=7, result={"of": "the first"})]])
def test_the_end_of_a_stream_ends_no_later_request_with_the_same_id(again: list[Event]) -> None:
    async def inside() -> None:
        first = HeldAnswer([event(id=7, result={"of": "the first"})], again)
        second = HeldAnswer([], [event(id=7, result={"of": "the second"})])
        world = BegunLink(first, second)
        await world.say(id=7, method="tools/call", params={"name": "t"})
        await world.say(id=7, method="tools/call", params={"name": "t"})
        first.go_on.set()
        await turns(30)
        assert (len(world.heard.messages), world.heard.unanswered) == (1, [])
        second.go_on.set()
        await turns(30)
        assert [message["result"]["of"] for message in world.heard.messages] == ["the first", "the second"]
        # The second is answered when its own stream ends.
        assert second.is_aborted
        assert not second.is_retired

    run(inside())


def test_an_answer_that_cannot_be_read_leaves_nothing_that_ends_a_later_request_with_the_same_id() -> None:
    async def inside() -> None:
        first = HeldAnswer([event(id=7, result={"text": "x" * 200})], [])
        world = BegunLink(first, HeldAnswer([], []))
        world.server.limit = 100
        await world.say(id=7, method="tools/call", params={"name": "t"})
        assert [type(message) for message in world.heard.messages] == [InvalidMessage]
        await world.say(id=7, method="tools/call", params={"name": "t"})
        first.go_on.set()
        await turns(30)
        assert world.heard.unanswered == []

    run(inside())


def test_what_another_stream_answers_while_another_session_is_opened_is_not_put_again() -> None:
    async def inside() -> None:
        world = BegunLink()
        await world.hello()
        hears = HeldAnswer([], [event(id=7, result={})])
        world.server.answers = [FakeAnswer(), hears, FakeAnswer(404)]
        await world.say(method="notifications/initialized")
        release = world.server.hold("initialize")
        result = {"id": "intercept/initialize", "result": {"protocolVersion": "2025-06-18"}}
        world.server.answers.append(FakeAnswer(200, "application/json", line(**result), mcp_session_id="s-2"))
        await world.say(id=7, method="tools/call", params={"name": "t"})
        hears.go_on.set()
        await turns(30)
        release.set()
        await turns(50)
        assert world.server.posted[-2:] == ["initialize", "notifications/initialized"]
        assert [message["id"] for message in world.heard.messages] == [0, 7]

    run(inside())


def test_a_refusal_of_what_another_stream_answered_ends_nothing_and_puts_nothing_again() -> None:
    async def inside() -> None:
        world = BegunLink()
        await world.hello()
        hears = HeldAnswer([], [event(id=7, result={})])
        world.server.answers = [FakeAnswer(), hears, FakeAnswer(404), FakeAnswer(405), HeldAnswer([], [])]
        await world.say(method="notifications/initialized")
        release = world.server.hold("tools/call")
        await world.say(id=7, method="tools/call", params={"name": "t"})
        hears.go_on.set()
        await turns(30)
        assert [message["id"] for message in world.heard.messages] == [0, 7]
        await world.say(id=7, method="tools/call", params={"name": "t"})
        release.set()
        await turns(50)
        assert world.server.posted.count("tools/call") == 2
        assert world.server.posted.count("initialize") == 1
        assert world.heard.unanswered == []

    run(inside())


def test_a_notification_that_the_server_holds_does_not_hold_what_comes_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamable_http, "PATIENCE", 0.01)

    async def inside() -> None:
        world = BegunLink()
        world.server.hold("held")
        for message in ({"method": "held"}, {"method": "a"}, {"id": 1, "method": "b"}):
            world.link.send(outgoing(line(**message)))
        await soon(lambda: set(world.server.posted) == {"held", "a", "b"})
        world.link.close()

    run(inside())


def test_a_notification_that_the_server_holds_does_not_hold_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamable_http, "PATIENCE", 0.01)

    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        world.server.hold("notifications/initialized")
        await world.call(1)
        await soon(lambda: ("s-2", "tools/call") in world.server.ran)
        world.link.close()

    run(inside())


@pytest.mark.parametrize("seconds", [streamable_http.MAX_AGE - 0.1, streamable_http.MAX_AGE + 0.1])
def test_a_call_that_waited_too_long_for_another_session_is_not_sent(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another policy may be in force by then. What is no call may wait longer."""
    now = 1000.0
    monkeypatch.setattr(streamable_http, "monotonic", lambda: now)

    async def inside() -> None:
        nonlocal now
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        release = world.server.hold("initialize")
        await world.call(1)
        world.link.send(outgoing(line(id=2, method="ping")))
        await turns(30)
        now += seconds
        release.set()
        await turns(100)
        assert ("s-2", "ping") in world.server.ran
        assert (("s-2", "tools/call") in world.server.ran) == (seconds < streamable_http.MAX_AGE)
        assert world.failed == ([] if seconds < streamable_http.MAX_AGE else [(1, Outcome.NOT_RUN)])

    run(inside())


def test_a_call_that_waited_too_long_for_marked_arguments_is_not_put_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(streamable_http, "monotonic", lambda: now)

    async def inside() -> None:
        nonlocal now
        world = BegunLink(as_json(400, id=1, error=MISMATCH), as_json(id="x", result=TOOLS))
        release = world.server.hold("tools/list")
        params = {"name": "t", "arguments": {"r": "eu"}, "_meta": META}
        await world.say(id=1, method="tools/call", params=params)
        now += streamable_http.MAX_AGE + 0.1
        release.set()
        await turns(50)
        assert world.server.posted == ["tools/call", "tools/list"]
        assert world.heard.outcomes == [(1, Outcome.NOT_RUN)]

    run(inside())


@pytest.mark.parametrize(
    "refused",
    [
        FakeAnswer(400, "text/plain", b"obsessions are bad"), FakeAnswer(403, "text/plain", b"no session for you"),
        as_json(400, id=1, error={"code": -32602, "message": "the tool ended your session at the bank"}),
        as_json(404, id=1, error={"code": -32601, "message": "no such method"}),
    ],
)  # fmt: skip
def test_a_refusal_that_is_not_about_the_session_opens_no_other(refused: FakeAnswer) -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(refused))
        await world.hello()
        await world.call(1)
        told = [*(id_ for id_, _ in world.failed), *(message["id"] for message in world.heard.messages)]
        assert (world.server.opened, sorted(told)) == (1, [0, 1])

    run(inside())


def test_a_server_that_opens_no_other_session_is_asked_again_by_the_next_request() -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        world.server.opens = False
        await world.call(1)
        assert world.failed == [(1, Outcome.NOT_RUN)]
        assert not world.link._ended.done()
        world.server.opens = True
        await world.call(2)
        assert world.server.ran[-1] == ("s-2", "tools/call")

    run(inside())


def test_a_server_that_forgets_every_session_at_once_is_not_asked_for_ever() -> None:
    class Amnesic(Forgetful):
        def _open(self, id_: Id) -> FakeAnswer:
            answer = super()._open(id_)
            self.forget()
            return answer

    async def inside() -> None:
        world = Forgotten(Amnesic(FakeAnswer(404)))
        await world.hello()
        await world.call(1)
        assert (world.server.opened, world.failed) == (2, [(1, Outcome.NOT_RUN)])

    run(inside())


def test_a_server_that_speaks_another_revision_in_another_session_ends_the_link(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def inside() -> None:
        world = Forgotten(Forgetful(FakeAnswer(404)))
        await world.hello()
        world.server.revision = "2025-03-26"
        await world.call(1)
        assert world.failed == [(1, Outcome.NOT_RUN)]
        assert await world.link.ended() == 1

    run(inside())
    assert "speaks another revision now" in caplog.text


MISMATCH = {"code": -32020, "message": "Mcp-Param-Region is missing"}
TOOLS = {"tools": [{"name": "t", "inputSchema": {"properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}}]}


@pytest.mark.parametrize("kind", ["json", "events"])
def test_a_server_that_misses_marked_arguments_makes_us_learn_them_and_ask_once_more(kind: str) -> None:
    async def inside() -> None:
        listing = as_json(id="x", result=TOOLS) if kind == "json" else as_events(event(id="x", result=TOOLS))
        world = BegunLink(as_json(400, id=1, error=MISMATCH), listing, as_json(id=1, result={}))
        params = {"name": "t", "arguments": {"r": "eu"}, "_meta": META}
        await world.say(id=1, method="tools/call", params=params)
        assert world.server.posted == ["tools/call", "tools/list", "tools/call"]
        assert world.server.sent[-1].headers["mcp-param-region"] == "eu"
        assert [message["id"] for message in world.heard.messages] == [1]

    run(inside())


def test_a_call_is_put_again_only_once() -> None:
    async def inside() -> None:
        world = BegunLink(
            as_json(400, id=1, error=MISMATCH), as_json(id="x", result=TOOLS), as_json(400, id=1, error=MISMATCH)
        )
        params = {"name": "t", "arguments": {"r": "eu"}, "_meta": META}
        await world.say(id=1, method="tools/call", params=params)
        assert world.server.posted == ["tools/call", "tools/list", "tools/call"]
        assert world.heard.messages[-1]["error"]["code"] == -32020

    run(inside())
