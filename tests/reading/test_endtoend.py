"""Which headers travel: none that is about one connection, no credentials unless wanted, the operator's above all."""

from __future__ import annotations

import pytest

from sidecar.endtoend import back, onward


@pytest.mark.parametrize(
    "name",
    [
        "connection", "keep-alive", "proxy-authorization", "proxy-authenticate", "te", "trailer", "transfer-encoding",
        "upgrade", "host", "origin", "referer", "content-length", "expect", "accept-encoding",
    ],
)  # fmt: skip
def test_what_is_about_one_connection_or_our_address_ends_here(name: str) -> None:
    assert onward([(name, "x"), ("accept", "y")], [], credentials=True) == [("accept", "y")]


def test_what_connection_names_ends_here_in_both_directions() -> None:
    fields = [("connection", "close, X-One ,x-two"), ("x-one", "1"), ("x-two", "2"), ("x-three", "3")]
    assert onward(fields, [], credentials=True) == [("x-three", "3")]
    assert back(fields, cookies=True) == [("x-three", "3")]


@pytest.mark.parametrize("name", ["authorization", "dpop", "cookie"])
def test_credentials_travel_only_where_that_is_wanted(name: str) -> None:
    fields = [(name, "s3cret")]
    assert onward(fields, [], credentials=False) == []
    assert onward(fields, [], credentials=True) == fields


def test_the_operators_headers_win_over_all_of_the_clients_of_that_name() -> None:
    fields = [("authorization", "client"), ("x", "1"), ("x", "2"), ("y", "3")]
    fixed = [("authorization", "ours"), ("x", "ours")]
    assert onward(fields, fixed, credentials=True) == [("y", "3"), *fixed]


def test_order_and_repetition_of_other_headers_stay() -> None:
    fields = [("mcp-session-id", "s"), ("x", "1"), ("accept", "a"), ("x", "2")]
    assert onward(fields, [], credentials=False) == fields


def test_an_answer_loses_what_frames_it_and_cookies_unless_they_are_wanted() -> None:
    fields = [
        ("content-type", "a"), ("content-length", "1"), ("content-encoding", "gzip"), ("transfer-encoding", "chunked"),
        ("set-cookie", "c"), ("mcp-session-id", "s"), ("www-authenticate", "w"),
    ]  # fmt: skip
    kept = [("mcp-session-id", "s"), ("www-authenticate", "w")]
    assert back(fields, cookies=False) == kept
    assert back(fields, cookies=True) == [("set-cookie", "c"), *kept]
