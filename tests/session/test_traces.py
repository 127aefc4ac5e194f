"""Each call is judged as a part of its own trace, and what is sent on is what the client sent."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.downstream.post import Post
from sidecar.http.values import Headers
from sidecar.mcp.trace_context import trace_of
from tests.session.fakes import ObservedSession, batch, encoded

FIRST, SECOND, THIRD = (f"00-{digit * 32}-{digit * 16}-01" for digit in "123")


def headers(*traceparents: str) -> Headers:
    return Headers([("traceparent", one) for one in traceparents])


def calling(id_: int, traceparent: Any = None) -> bytes:
    meta = {} if traceparent is None else {"_meta": {"traceparent": traceparent, "tracestate": "x=y", "baggage": "a=b"}}
    return encoded(id=id_, method="tools/call", params={"name": "look", "arguments": {"a": 1}, **meta})


def traces(world: ObservedSession) -> list[Any]:
    return [trial.call.trace for trial in world.gate.trials]


def post(world: ObservedSession, line: bytes, came: Headers) -> Post:
    post = Post(came)
    world.session.from_client(line, post.route, post.look)
    return post


def test_a_call_is_a_part_of_the_trace_that_its_meta_says_and_goes_on_byte_for_byte() -> None:
    world = ObservedSession()
    line = calling(1, FIRST)
    world.session.from_client(line)
    assert traces(world) == [trace_of(FIRST)]
    world.gate.allow()
    assert world.server == [line]


def test_a_call_without_a_trace_is_given_none() -> None:
    world = ObservedSession()
    world.session.from_client(calling(1))
    assert traces(world) == [None]
    world.gate.allow()
    assert world.server == [calling(1)]


def test_where_its_meta_says_nothing_the_header_of_the_request_counts() -> None:
    world = ObservedSession()
    post(world, calling(1), headers(FIRST))
    post(world, calling(2, SECOND), headers(FIRST))
    post(world, calling(3, "not a trace"), headers(FIRST))
    assert traces(world) == [trace_of(FIRST), trace_of(SECOND), trace_of(FIRST)]


@pytest.mark.parametrize("came", [headers(), headers("nonsense"), headers(FIRST, SECOND), headers(FIRST, FIRST)])
def test_a_header_that_is_none_or_stands_twice_says_nothing(came: Headers) -> None:
    world = ObservedSession()
    post(world, calling(1), came)
    assert traces(world) == [None]


def test_the_header_counts_for_every_call_of_a_batch() -> None:
    world = ObservedSession(revision="2025-03-26")
    post(world, batch(calling(1), calling(2, SECOND)), headers(FIRST))
    assert traces(world) == [trace_of(FIRST), trace_of(SECOND)]


def test_a_call_that_came_before_is_a_part_of_its_own_trace_and_not_of_that_one() -> None:
    world = ObservedSession()
    for id_, came in enumerate([headers(FIRST), headers(SECOND), headers(THIRD), headers(), headers(FIRST)]):
        post(world, calling(id_), came)
    assert traces(world) == [*map(trace_of, [FIRST, SECOND, THIRD]), None, trace_of(FIRST)]


def test_a_call_that_came_before_with_the_same_meta_is_a_part_of_the_same_trace() -> None:
    world = ObservedSession()
    for id_ in range(4):
        post(world, calling(id_, FIRST), headers(SECOND))
    assert traces(world) == [trace_of(FIRST)] * 4
