"""One POST: what it carried, the outcome on it, and the status of that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.downstream.post import CANCELLED, Post
from sidecar.http.values import Headers, Repeated
from tests.downstream.fakes import line, run, turns
from tests.session.fakes import ObservedSession, batch


def posted(
    *messages: dict[str, Any], revision: str = "", headers: dict[str, str] | None = None
) -> tuple[ObservedSession, Post]:
    world, post = ObservedSession(revision=revision), Post(Headers((headers or {}).items()))
    lines = [line(**message) for message in messages]
    world.session.from_client(lines[0] if len(lines) == 1 else batch(*lines), post.route, post.look)
    return world, post


def call(id_: int, tool: str, **params: Any) -> dict[str, Any]:
    return {"id": id_, "method": "tools/call", "params": {"name": tool, **params}}


NOTE = {"method": "notifications/initialized"}


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (NOTE, 202), ({"id": 9, "result": {}}, 202),
        ({"id": 1, "method": "Ping"}, 400), ({"id": 1, "method": "tools/call"}, 400), ({"id": 1, "method": 7}, 400),
        ({"method": "tools/call", "params": {"name": "quick"}}, 400), (call(1, "odd"), 400),
    ],
)  # fmt: skip
def test_what_does_not_go_on_has_its_status(message: dict[str, Any], status: int) -> None:
    _, post = posted(message)
    run(post.settled())
    assert post.outcome().status == status


def test_headers_that_lie_are_refused_with_400_and_the_server_hears_nothing() -> None:
    world, post = posted(call(1, "quick"), headers={"mcp-name": "harmless"})
    assert (post.outcome().status, post.goes_on, world.server) == (400, False, [])
    assert json.loads(post.outcome().body)["error"]["code"] == -32020


def test_a_call_that_policy_refuses_is_200_and_one_that_is_given_up_is_an_error_with_its_id() -> None:
    world, post = posted(call(1, "look"))
    world.gate.deny()
    assert post.outcome().status == 200
    world, post = posted(call(1, "look"))
    world.cancel(1)
    error = json.loads(post.outcome().body)
    assert (error["id"], error["error"]["code"]) == (1, CANCELLED)


def test_what_was_carried_is_noted() -> None:
    _, post = posted(call(1, "quick", _meta={"progressToken": "t"}))
    assert (post.requests, post.sent, post.tokens, post.hello, post.listens) == ([1], [1], ["t"], False, False)
    _, post = posted({"id": 1, "method": "initialize"})
    assert post.hello
    _, post = posted({"id": 1, "method": "subscriptions/listen"})
    assert post.listens


def test_only_requests_that_go_on_are_sent_whatever_else_had_their_id() -> None:
    _, post = posted(call(1, "quick"), call(1, "quick"), call(2, "odd"), NOTE, revision="2025-03-26")
    assert (post.requests, post.sent) == ([1, 1, 2], [1])
    assert post.reply is not None
    _, post = posted(call(2, "odd"), NOTE, revision="2025-03-26")
    assert (post.sent, post.goes_on) == ([], True)


def test_the_answer_to_a_part_of_a_batch_and_the_part_that_goes_on_are_one_outcome() -> None:
    async def test() -> None:
        told: list[tuple[bool, bool]] = []
        world, post = posted(call(1, "look"), call(2, "look"), revision="2025-03-26")
        post.when_settled(lambda: told.append((post.reply is not None, post.goes_on)))
        world.gate.deny()
        assert told == []
        world.gate.allow()
        await turns()
        assert told == [(True, True)]

    run(test())


def test_what_is_said_after_the_outcome_goes_its_own_way() -> None:
    later: list[bytes] = []
    world, post = ObservedSession(), Post(Headers(), lambda message: later.append(message.raw))
    world.session.from_client(line(**call(1, "quick")), post.route, post.look)
    reply = world.answer(1)
    assert (post.reply, later) == (None, [reply])


@pytest.mark.parametrize("name", ["mcp-method", "mcp-name", "mcp-protocol-version"])
def test_a_header_that_mirrors_may_not_stand_twice(name: str) -> None:
    with pytest.raises(Repeated):
        Post(Headers([(name, "a"), (name, "a")]))
