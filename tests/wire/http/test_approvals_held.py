"""Calls that wait in place for a person, over HTTP: before a child, before a server over HTTP, and legacy HTTP+SSE."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pytest

from tests.approvals import people
from tests.support.approver import Approver
from tests.support.listener import Listener
from tests.support.peer import SECONDS, until
from tests.wire.http.client import Agent, Wire, call, first_message, hello, mirrors, stateless
from tests.wire.http.conftest import assert_quiet
from tests.wire.http.running import received, running
from tests.wire.http.server import Upstream, http

POLICY: Final = """
approvals: {hold: 30s}
tools:
  sell: {rules: [{name: asks, action: require_approval, reason: Ask the desk}]}
"""
PAGE: Final = "https://desk.example"
URLS: Final[dict[str, Any]] = {"elicitation": {"url": {}}}
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
NUMBERS: Final = itertools.count(1)
"""Each test makes a call of its own, so that one sidecar serves all."""


@dataclass
class Desk:
    """A sidecar, who answers approvals there, and what the server got so far."""

    listener: Listener
    ann: Approver
    got: Callable[[], list[Any]]
    """The parameters of the calls that the server got."""

    def times(self, number: int) -> int:
        """How often the server got the call with a number."""
        return sum(params["arguments"]["n"] == number for params in self.got())

    def agent(self, *, session: bool) -> Client:
        return Client(self.listener.url, session=session)


class Client:
    """An agent, in a session or without one."""

    def __init__(self, url: str, *, session: bool) -> None:
        self._session = session
        self.agent = Agent.with_session(url) if session else Agent(url)

    def sell(
        self, number: int, params: Mapping[str, Any] = MappingProxyType({}), mute: bool = False, /, **meta: Any
    ) -> Wire:  # fmt: skip
        """A connection on which the call was made; a child that gets a `mute` one never answers it."""
        message = call("sell", {"n": number, **({"stub": "mute"} if mute else {})}, 1, **params)
        if self._session:
            message["params"]["_meta"] = meta
            return self.agent.opened(message)
        message = stateless(message, **meta)
        return self.agent.opened(message, *mirrors(message))

    def settle(self) -> None:
        """Let the sidecar notice what happened on other connections."""
        for _ in range(3):
            message: dict[str, Any] = {"jsonrpc": "2.0", "id": 99, "method": "tools/list"}
            message = message if self._session else stateless(message)
            assert self.agent.post(message, *(() if self._session else mirrors(message))).status == 200


@pytest.fixture(scope="module", params=["hosted", "relay"])
def desk(
    request: pytest.FixtureRequest, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp(request.param)
    with started(folder, upstream if request.param == "relay" else None) as listener:

        def got() -> list[Any]:
            calls = [asked.message for asked in upstream.calls] if request.param == "relay" else received(folder)
            return [message["params"] for message in calls]

        yield Desk(listener, Approver(folder / "state"), got)
        assert_quiet(listener)


def started(folder: Path, upstream: Upstream | None, transport: str = "http") -> Listener:
    approvers = people.write(folder / "approvers.yaml", *people.EVERYBODY)
    page = ("--approvals", "127.0.0.1:0", "--approvers-file", str(approvers), "--approvals-url", PAGE)
    where = ("--upstream", upstream.url) if upstream is not None else ()
    return running(folder, *where, *page, policy=POLICY, transport=transport)


@pytest.fixture(params=[True, False], ids=["session", "stateless"])
def client(request: pytest.FixtureRequest, desk: Desk) -> Client:
    return desk.agent(session=request.param)


@pytest.fixture
def number() -> int:
    return next(NUMBERS)


def test_progress_comes_down_the_answer_and_then_what_the_server_says(desk: Desk, client: Client, number: int) -> None:
    with client.sell(number, progressToken="t") as wire:
        status, headers = wire.begin()
        assert (status, headers["content-type"]) == (200, "text/event-stream")
        progress = wire.told()
        assert (progress["method"], progress["params"]["progressToken"]) == ("notifications/progress", "t")
        desk.ann.approve(desk.ann.pending().id)
        assert "content" in wire.told()["result"]
        assert wire.told() is None
    assert desk.times(number) == 1


def test_without_a_progress_token_the_answer_is_what_it_would_be(desk: Desk, client: Client, number: int) -> None:
    with client.sell(number) as wire:
        desk.ann.approve(desk.ann.pending().id)
        answer = wire.answer()
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        assert "content" in answer.message["result"]
    assert desk.times(number) == 1


def test_a_person_who_refuses_is_heard_on_the_stream(desk: Desk, client: Client, number: int) -> None:
    with client.sell(number, progressToken="t") as wire:
        wire.begin()
        wire.told()
        desk.ann.deny(desk.ann.pending().id, "no")
        assert "A person refused this call: no" in json.dumps(wire.told())
        assert wire.told() is None
    assert desk.times(number) == 0


@pytest.mark.parametrize("meta", [{"progressToken": "t"}, {}], ids=["told", "silent"])
def test_a_client_that_leaves_while_it_waits_ends_the_wait(
    desk: Desk, client: Client, number: int, meta: dict[str, Any]
) -> None:
    with client.sell(number, **meta):
        record = desk.ann.pending()
    client.settle()
    desk.ann.approve(record.id)
    with client.sell(number) as wire:  # it comes back, and the yes is still there
        assert "content" in wire.answer().message["result"]
    assert (desk.times(number), desk.ann.state(record.id)) == (1, "consumed")


@pytest.mark.parametrize("desk", ["relay"], indirect=True)
def test_what_the_server_refuses_after_the_stream_began_is_an_error_on_it(
    desk: Desk, client: Client, number: int, upstream: Upstream
) -> None:
    upstream.says["sell"] = lambda asked, connection: connection.sendall(http(500, b"broken", kind="text/plain"))
    with client.sell(number, progressToken="t") as wire:
        wire.begin()
        wire.told()
        record = desk.ann.approve(desk.ann.pending().id)
        last = wire.told()
        assert (last["id"], last["error"]["code"]) == (1, -32000)
        assert wire.told() is None
    desk.ann.reaches(record.id, "unknown")
    desk.ann.resolve(record.id, "failed")


def _waits(event: threading.Event) -> None:
    assert event.wait(SECONDS)


def test_a_call_whose_client_leaves_once_it_was_sent_on_is_unknown_and_not_repeated(
    desk: Desk, number: int, upstream: Upstream
) -> None:
    answered = threading.Event()
    upstream.says["sell"] = lambda asked, connection: _waits(answered)
    client = desk.agent(session=False)
    with client.sell(number, {}, True):
        record = desk.ann.approve(desk.ann.pending().id)
        until(lambda: desk.times(number) == 1)
    desk.ann.reaches(record.id, "unknown")
    answered.set()
    for session in (False, True):
        with desk.agent(session=session).sell(number, {}, True) as wire:
            assert "nobody knows whether it ran" in json.dumps(wire.answer().message)
    assert desk.times(number) == 1
    desk.ann.resolve(record.id, "committed")


def test_a_cancel_ends_the_wait(desk: Desk, number: int) -> None:
    client = desk.agent(session=True)
    with client.sell(number, progressToken="t") as wire:
        wire.begin()
        wire.told()
        record = desk.ann.pending()
        cancel = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}
        assert client.agent.post(cancel).status == 202
        assert wire.told()["error"]["code"] == -32800
        assert wire.told() is None
    desk.ann.deny(record.id)
    assert desk.times(number) == 0


def test_the_end_of_the_session_ends_the_wait(desk: Desk, number: int) -> None:
    client = desk.agent(session=True)
    with client.sell(number, progressToken="t") as wire:
        wire.begin()
        wire.told()
        record = desk.ann.pending()
        assert client.agent.post(b"", method="DELETE").status in (200, 204)
        assert wire.told()["error"]["code"] == -32800
    desk.ann.deny(record.id)
    assert desk.times(number) == 0


def test_an_approval_of_another_session_does_not_count(desk: Desk, number: int) -> None:
    one, other = desk.agent(session=True), desk.agent(session=True)
    with one.sell(number):
        first = desk.ann.pending()
    one.settle()
    desk.ann.approve(first.id)
    with other.sell(number) as wire:
        second = desk.ann.pending()
        assert second.id != first.id
        desk.ann.deny(second.id)
        assert "A person refused this call" in json.dumps(wire.answer().message)
    assert desk.times(number) == 0


# Pages to open.


def test_a_client_in_a_session_is_sent_to_the_page_by_a_request_whose_answer_is_ours(
    desk: Desk, number: int, upstream: Upstream
) -> None:
    agent = Agent(desk.listener.url)
    message = hello()
    message["params"]["capabilities"] = URLS
    answer = agent.post(message)
    agent.headers = (f"Mcp-Session-Id: {answer.headers['mcp-session-id']}", "MCP-Protocol-Version: 2025-11-25")
    with agent.opened(call("sell", {"n": number})) as wire:
        wire.begin()
        request = wire.told()
        record = desk.ann.pending()
        assert (request["method"], request["params"]["url"]) == (
            "elicitation/create", f"{PAGE}/approvals/{record.id}"
        )  # fmt: skip
        ours = {"jsonrpc": "2.0", "id": request["id"], "result": {"action": "accept"}}
        assert agent.post(ours).status == 202
        desk.ann.approve(record.id)
        assert wire.told()["method"] == "notifications/elicitation/complete"
        assert "content" in wire.told()["result"]
    assert desk.times(number) == 1
    assert upstream.asked("answer") == []


def test_a_client_without_sessions_gets_the_page_as_a_result_and_nothing_of_ours_reaches_the_server(
    desk: Desk, number: int
) -> None:
    client = desk.agent(session=False)
    with client.sell(number, **{CAPABILITIES: URLS}) as wire:
        result = first_message(wire.answer())["result"]
    record = desk.ann.approve(desk.ann.pending().id)
    ((key, question),) = result["inputRequests"].items()
    assert question["params"]["url"] == f"{PAGE}/approvals/{record.id}"
    again = {"requestState": result["requestState"], "inputResponses": {key: {"action": "accept"}}}
    with client.sell(number, again, **{CAPABILITIES: URLS}) as wire:
        assert "content" in first_message(wire.answer())["result"]
    (params,) = [params for params in desk.got() if params["arguments"] == {"n": number}]
    assert params.keys() == {"name", "arguments", "_meta"}


# The end, and the legacy transport.


@pytest.mark.parametrize("session", [True, False], ids=["session", "stateless"])
@pytest.mark.parametrize("relayed", [False, True], ids=["hosted", "relay"])
def test_a_sidecar_that_is_asked_to_stop_answers_what_it_holds(
    tmp_path: Path, upstream: Upstream, relayed: bool, session: bool
) -> None:
    with started(tmp_path, upstream if relayed else None) as listener:
        client = Client(listener.url, session=session)
        with client.sell(1) as wire:
            Approver(tmp_path / "state").pending()
            listener.process.send_signal(signal.SIGTERM)
            assert first_message(wire.answer())["error"]["code"] == -32003
        listener.wait(SECONDS)


def test_on_the_legacy_transport_progress_and_answer_come_down_the_stream_whose_end_ends_the_wait(
    tmp_path: Path,
) -> None:
    with started(tmp_path, None, "sse") as listener:
        ann, agent = Approver(tmp_path / "state"), Agent(listener.url)
        with agent.opened(b"", method="GET", target="/sse") as stream:
            stream.begin()
            address = stream.event()["data"]
            agent.post(hello("2024-11-05"), target=address)
            stream.told()
            meta = {"_meta": {"progressToken": "t"}}
            assert agent.post(call("sell", {"n": 1}, 1, **meta), target=address).status == 202
            assert stream.told()["method"] == "notifications/progress"
            ann.approve(ann.pending().id)
            assert "content" in stream.told()["result"]
            agent.post(call("sell", {"n": 2}, 2, **meta), target=address)
            assert stream.told()["method"] == "notifications/progress"
            left = ann.pending()
        # Whoever opens another stream knows that the end of the first was seen.
        with agent.opened(b"", method="GET", target="/sse") as stream:
            stream.begin()
            stream.event()
            ann.approve(left.id)
        assert [message["params"]["arguments"] for message in received(tmp_path)] == [{"n": 1}]
