"""A server that answers once too often: what it says late reaches nobody else, and what follows is in step again."""

from __future__ import annotations

import json
import select
import socket
from contextlib import suppress
from typing import Any

import pytest

from tests.support.listener import Listener
from tests.support.peer import SECONDS
from tests.wire.http.client import Agent, Wire, call, first_message, mirrors, stateless
from tests.wire.http.server import Asked, Upstream, result, text


class Late:
    """Answers a call, and then once more: when the next request has come on that connection, or after a while."""

    def __init__(self, upstream: Upstream, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        upstream.says["late"] = self._say

    def _say(self, asked: Asked, connection: socket.socket) -> None:
        who = asked.message["params"]["arguments"]["who"]
        connection.sendall(result(asked, text(who)))
        with suppress(ValueError):  # closed meanwhile: the test is over, and nobody hears the rest
            select.select([connection], [], [], self._seconds)
        connection.sendall(result(asked, text(f"{who} again")))


KINDS = ("sessions", "no sessions", "stateless")


class Talker:
    """An agent that keeps its connection, and always uses the same id."""

    def __init__(self, listener: Listener, kind: str, who: str) -> None:
        self._agent = Agent.with_session(listener.url) if kind == "sessions" else Agent(listener.url)
        self._wire = Wire(listener.url)
        self._stateless = kind == "stateless"
        self._who = who

    def call(self, id_: int = 1) -> Any:
        message = call("late", {"who": self._who}, id_)
        headers: tuple[str, ...] = self._agent.headers
        if self._stateless:
            message = stateless(message)
            headers = mirrors(message)
        self._wire.ask(message, *headers)
        return first_message(self._wire.answer())

    def end(self) -> None:
        self._wire.__exit__(None, None, None)


def said(reply: Any) -> str | None:
    return reply["result"]["content"][0]["text"] if "result" in reply else None


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_too_many_does_not_reach_another_client(relay: Listener, upstream: Upstream, kind: str) -> None:
    Late(upstream)
    talkers = [Talker(relay, kind, who) for who in ("a", "b", "c")]
    assert [said(talker.call()) for talker in talkers] == ["a", "b", "c"]
    for talker in talkers:
        talker.end()


@pytest.mark.parametrize("kind", KINDS)
def test_after_an_answer_too_many_a_client_is_in_step_again(relay: Listener, upstream: Upstream, kind: str) -> None:
    Late(upstream)
    talker = Talker(relay, kind, "a")
    # The second request is met by what was said too much; it must not be met by the answer to the first.
    assert [said(talker.call(id_)) for id_ in range(4)] == ["a", None, "a", None]
    talker.end()


@pytest.mark.parametrize("kind", KINDS)
def test_of_many_answers_that_come_late_none_reaches_another_client(
    relay: Listener, upstream: Upstream, kind: str
) -> None:
    Late(upstream, seconds=0.003)
    talkers = [Talker(relay, kind, f"agent {number}") for number in range(4)]
    for _ in range(12):
        for number, talker in enumerate(talkers):
            found = said(talker.call())
            assert found is None or found.startswith(f"agent {number}"), json.dumps(found)
    for talker in talkers:
        talker.end()
