"""Agents that use the same ids at the same time never meet; what one does ends nothing of another's, counts once."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import child_pids, command_line, denied, stopped, until
from tests.wire.http.client import Agent, Wire, call, first_message, mirrors, stateless
from tests.wire.http.running import received, resuming, running
from tests.wire.http.server import GONE, Asked, Upstream, event, http, raw, reply, stream, text


def cancel(id_: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id_}}


class Held:
    """Calls that the server answers when it is let."""

    def __init__(self, upstream: Upstream, key: str) -> None:
        self._go_on = threading.Event()
        self.left: list[str] = []
        upstream.says[key] = self._say

    def _say(self, asked: Asked, connection: socket.socket) -> None:
        who = asked.message["params"]["arguments"]["who"]
        while not self._go_on.wait(0.01):
            connection.setblocking(False)
            try:
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    self.left.append(who)
                    return
            except BlockingIOError:
                pass
            connection.setblocking(True)
        connection.setblocking(True)
        progress = {"progressToken": 1, "progress": 1, "message": who}
        news = {"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}
        connection.sendall(stream(event(news), event(reply(asked.id, text(who)))))

    def go_on(self) -> None:
        self._go_on.set()


@pytest.mark.parametrize("kind", ["sessions", "no sessions", "stateless"])
def test_two_agents_that_use_one_id_and_one_token_get_each_their_own(
    relay: Listener, upstream: Upstream, kind: str
) -> None:
    held = Held(upstream, "held")
    agents = [Agent.with_session(relay.url) if kind == "sessions" else Agent(relay.url) for _ in range(3)]
    wires = []
    for agent, who in zip(agents, "abc", strict=True):
        message = call("held", {"who": who}, 1, _meta={"progressToken": 1})
        if kind == "stateless":
            message = stateless(call("held", {"who": who}, 1), progressToken=1)
        wires.append(agent.opened(message, *(mirrors(message) if kind == "stateless" else ())))
    until(lambda: len(upstream.asked("held")) == 3)
    # What one cancels under the same id is its own.
    if kind == "sessions":
        agents[2].post(cancel(1))
        assert upstream.asked("notifications/cancelled")[0].header("mcp-session-id") == agents[2].session
    wires.pop().__exit__(None, None, None)
    until(lambda: held.left == ["c"])
    held.go_on()
    for wire, who in zip(wires, "ab", strict=True):
        with wire:
            assert wire.begin()[0] == 200
            assert wire.told()["params"]["message"] == who
            assert wire.told() == reply(1, text(who))


def slow(folder: Path, who: str) -> dict[str, Any]:
    return {"stub": "slow", "until": str(folder / "go on"), "who": who}


def test_on_a_shared_child_ids_and_tokens_are_apart_and_leaving_cancels_ones_own_call_only(
    hosted: Listener, child: Path
) -> None:
    (child / "go on").unlink(missing_ok=True)
    wires, messages = [], [stateless(call("held", slow(child, who), 1), progressToken="t") for who in "ab"]
    for message in messages:
        wires.append(Agent(hosted.url).opened(message, *mirrors(message)))
    until(lambda: len([one for one in received(child) if one["params"]["name"] == "held"]) == 2)
    there = [one for one in received(child) if one["params"]["name"] == "held"]
    assert len({one["id"] for one in there}) == len({one["params"]["_meta"]["progressToken"] for one in there}) == 2
    # A notification of a client is nothing that this revision has: it reaches nobody, and cancels nothing.
    for id_ in [one["id"] for one in there] + [1, "t"]:
        answer = Agent(hosted.url).post(cancel(id_), "MCP-Protocol-Version: 2026-07-28")
        assert answer.status == 202
    wires[0].__exit__(None, None, None)
    (child / "go on").touch()
    with wires[1] as wire:
        assert first_message(wire.answer()) == reply(1, text("late") | {"isError": False})


def test_a_client_that_reads_nothing_holds_up_no_other_on_a_shared_child(hosted: Listener, child: Path) -> None:
    other = stateless(call("shown", {"n": 1}, 1))
    Agent(hosted.url).post(other, *mirrors(other))
    params = {"progressToken": "$TOKEN", "progress": 1, "message": "x" * 60_000}
    progress = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
    flood = "\n".join([json.dumps(progress)] * 200)
    message = stateless(call("flood", {"stub": "say", "line": flood}, 1), progressToken="t")
    with Agent(hosted.url).opened(message, *mirrors(message)):
        until(lambda: any(one["params"]["name"] == "flood" for one in received(child)))
        for _ in range(5):
            assert "result" in first_message(Agent(hosted.url).post(other, *mirrors(other)))


def test_a_session_of_a_child_that_ends_takes_its_calls_along_and_no_others(hosted: Listener, child: Path) -> None:
    one, other = Agent.with_session(hosted.url), Agent.with_session(hosted.url)
    with one.opened(call("mine", {"stub": "mute"})) as waiting:
        until(lambda: any(line["params"]["name"] == "mine" for line in received(child)))
        assert one.post(b"", method="DELETE").status == 204
        assert first_message(waiting.answer()) if waiting.begin()[0] != 200 else waiting.told() is None
    assert one.post(call("shown")).status == 404
    assert "result" in other.call("shown")


def test_a_call_that_is_being_judged_when_its_session_ends_is_answered_and_not_sent(
    hosted: Listener, child: Path, relay: Listener, upstream: Upstream
) -> None:
    for listener in (hosted, relay):
        agent = Agent.with_session(listener.url)
        (opa,) = [pid for pid in child_pids(listener.process.pid) if "--server" in command_line(pid)]
        with stopped(opa), agent.opened(call("careful", {"amount": 1.25})) as waiting:
            until(lambda: agent.post(call("careful", {"amount": 1.25})).code == -32600)  # noqa: B023 - used at once
            assert agent.post(b"", method="DELETE").status in (200, 204)
            assert waiting.answer().code == -32800
    assert upstream.asked("careful") == []
    assert [line for line in received(child) if line["params"]["arguments"].get("amount") == 1.25] == []


LIMITS = """
tools:
  error: {rules: [{name: e, rate_limit: 1/day}]}
  twice: {rules: [{name: t, rate_limit: 3/day}]}
  gone: {rules: [{name: g, rate_limit: 1/day}]}
  lost: {rules: [{name: l, rate_limit: 1/day}]}
  left: {rules: [{name: f, rate_limit: 1/day}]}
  redirected: {rules: [{name: r, rate_limit: 1/day}]}
  session: {rules: [{name: s, rate_limit: {max: 1, window: day}}]}
"""


def test_what_a_call_took_is_given_back_once_and_only_where_it_surely_did_not_run(
    upstream: Upstream, tmp_path: Path
) -> None:
    def twice(asked: Asked, connection: socket.socket) -> None:
        failed = {"jsonrpc": "2.0", "id": asked.id, "error": {"code": -32601, "message": "no"}}
        connection.sendall(stream(event(failed, "e1"), event(failed, "e2"), event(failed, "e3")))

    def again(asked: Asked, connection: socket.socket) -> None:
        failed = {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}
        connection.sendall(stream(*[event(failed, f"e{number}") for number in range(5)]))

    def hang(asked: Asked, connection: socket.socket) -> None:
        connection.recv(1)

    failed = json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no"}}).encode()
    upstream.says |= {
        "error": raw(http(200, failed)), "twice": twice, "GET": again, "lost": raw(b""), "left": hang,
        "redirected": raw(http(307, b"", "Location: /x")),
    }  # fmt: skip
    with running(tmp_path, "--upstream", upstream.url, policy=LIMITS) as listener:
        agent = Agent.with_session(listener.url)
        for _ in range(3):
            assert "error" in agent.call("error")
        for _ in range(2):
            assert "redirects" in agent.call("redirected")["error"]["message"]

        # Two succeed and stay; one fails, is given back once, and however often it is said again that is all.
        del upstream.says["twice"]
        assert [denied(agent.call("twice")) for _ in range(2)] == [None, None]
        upstream.says["twice"] = twice
        assert "error" in agent.call("twice")
        with agent.listen(resuming(agent, upstream)) as wire:
            told = []
            while (message := wire.told()) is not None:
                told.append(message)
        assert len(told) == 5
        del upstream.says["twice"]
        assert [denied(agent.call("twice")) is None for _ in range(3)] == [True, False, False]

        for _ in range(2):
            reply_ = agent.call("lost")
            assert denied(reply_) if _ else reply_["error"]["code"] == -32000
        with agent.opened(call("left", {}, 5)):
            until(lambda: upstream.asked("left"))
        until(lambda: denied(agent.call("left")) is not None)

        assert denied(agent.call("session")) is None
        for headers in (("Mcp-Session-Id: made-up",), (f"Mcp-Session-Id: {agent.session}x",), ("Mcp-Session-Id: ",)):
            assert Agent(listener.url, *headers).post(call("session")).status == 404
        assert denied(agent.call("session")) is not None
        # Without a session it is the sidecar's count, whoever asks.
        alone = [Agent(listener.url, "MCP-Protocol-Version: 2025-11-25").call("session") for _ in range(2)]
        assert [denied(answer) is None for answer in alone] == [True, False]

        upstream.stop()
        for _ in range(3):
            assert agent.call("gone")["error"] == GONE
        upstream.start_again()
        assert denied(agent.call("gone")) is None
        assert denied(agent.call("gone")) is not None


class Journal:
    """A server that keeps the events of all its clients under one counter, and asks nobody whose stream he resumes."""

    def __init__(self, upstream: Upstream) -> None:
        self.events: list[bytes] = []
        upstream.says |= {"tell": self._tell, "GET": self._replay}

    def _tell(self, asked: Asked, connection: socket.socket) -> None:
        first = len(self.events)
        for message in (news(asked.message["params"]["arguments"]["who"]), reply(asked.id, text("told"))):
            self.events.append(event(message, f"e{len(self.events)}"))
        connection.sendall(stream(*self.events[first:]))

    def _replay(self, asked: Asked, connection: socket.socket) -> None:
        last = asked.header("last-event-id")
        # One that it does not know is for it the first of all.
        after = int(last[1:]) + 1 if last is not None and last[1:].isdigit() else 0
        connection.sendall(stream(*self.events[after:]))


def news(words: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": words}}


def events_of(wire: Wire) -> list[dict[str, str]]:
    wire.begin()
    return list(iter(wire.event, {}))


def test_a_limit_by_session_counts_each_session_of_a_remote_server_by_itself(
    upstream: Upstream, tmp_path: Path
) -> None:
    limit = "tools: {t: {rules: [{rate_limit: {max: 2, window: day, scope: session}}]}}"
    with running(tmp_path, "--upstream", upstream.url, policy=limit) as listener:
        one, other = Agent.with_session(listener.url), Agent.with_session(listener.url)
        alone = [Agent(listener.url) for _ in range(2)]
        seen = [[denied(agent.call("t")) is None for _ in range(3)] for agent in (one, other)]
        # Without a session they are counted together: an id that a client makes up opens no count.
        together = [denied(agent.call("t")) is None for agent in alone * 2]
    assert (seen, together) == ([[True, True, False]] * 2, [True, True, False, False])


@pytest.mark.parametrize("kind", ["sessions", "no sessions"])
def test_an_event_id_is_good_only_for_the_client_that_was_shown_it(
    relay: Listener, upstream: Upstream, kind: str
) -> None:
    journal = Journal(upstream)
    mine, other = [Agent.with_session(relay.url) if kind == "sessions" else Agent(relay.url) for _ in range(2)]
    with mine.opened(call("tell", {"who": "mine"})) as wire:
        shown = events_of(wire)
    with other.opened(call("tell", {"who": "secret of the other"})) as wire:
        others = events_of(wire)
    assert len(journal.events) == 4
    with mine.opened(b"", f"Last-Event-ID: {shown[0]['id']}", method="GET") as wire:
        again = events_of(wire)
    # What the server replays of others beyond that is the server's own doing.
    if kind == "sessions":
        assert again[0]["data"] == shown[1]["data"]
    asked = len(upstream.asked("GET"))
    guesses = ["e0", "e1", "e2", "0", "", *(f"{one['id'].partition('.')[0]}.e0" for one in shown[1:])]
    if kind == "sessions":
        guesses += [one["id"] for one in others]
    for guess in guesses:
        answer = mine.post(b"", f"Last-Event-ID: {guess}", method="GET")
        assert answer.status == 400 or guess == ""
    assert all(one.header("last-event-id") is None for one in upstream.asked("GET")[asked:])


def test_an_event_id_does_not_travel_with_what_is_no_resumption(relay: Listener, upstream: Upstream) -> None:
    agent = Agent.with_session(relay.url)
    place = resuming(agent, upstream)
    agent.post(call("shown"), place)
    agent.post(b"", place, method="DELETE")
    assert [one.header("last-event-id") for one in upstream.seen if one.method != "GET"] == [None] * 4


def test_a_resumption_that_stands_twice_is_refused(relay: Listener, upstream: Upstream) -> None:
    agent = Agent.with_session(relay.url)
    place = resuming(agent, upstream)
    assert agent.post(b"", place, place, method="GET").status == 400


def test_in_front_of_a_program_another_sessions_event_id_shows_nothing_of_it(hosted: Listener) -> None:
    mine, other = Agent.with_session(hosted.url), Agent.with_session(hosted.url)
    other.call("shown", None, 77)
    for number in range(4):
        with mine.opened(b"", f"Last-Event-ID: {number}.0", method="GET") as wire:
            status, _ = wire.begin()
            assert status == 200
            while not wire.is_silent(0.05) and (told := wire.told()) is not None:
                assert told.get("id") != 77


def error_with(code: int) -> bytes:
    """An error about request 1."""
    return json.dumps({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": "no"}}).encode()


@pytest.mark.parametrize(
    ("status", "body", "given_back"),
    [
        (400, error_with(-32602), False), (400, b"", False), (400, error_with(-32020), True),
        (200, error_with(-32603), False), (404, error_with(-32601), True), (404, b"", True), (413, b"", True),
        (303, b"", False), (500, b"", False),
    ],
)  # fmt: skip
def test_a_status_gives_back_only_where_it_says_that_nothing_ran(
    upstream: Upstream, tmp_path: Path, status: int, body: bytes, given_back: bool
) -> None:
    upstream.says["error"] = raw(http(status, body))
    with running(tmp_path, "--upstream", upstream.url, policy=LIMITS) as listener:
        agent = Agent.with_session(listener.url)
        agent.post(call("error", {}, 1))
        del upstream.says["error"]
        assert (denied(agent.call("error")) is None) is given_back
