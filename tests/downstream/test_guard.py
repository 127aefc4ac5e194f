"""What the head of a request must be: a table of heads, each with its status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine

import pytest

from sidecar.auth.authenticator import Authenticator
from sidecar.auth.hosts import Hosts
from sidecar.downstream.guard import Guard
from sidecar.http.values import Headers, Response

METHODS = {"/mcp": ("POST", "GET", "DELETE"), "/sse": ("GET",)}
GOOD = {"host": "127.0.0.1:8080", "content-type": "application/json"}


def admit(method: str, target: str, *fields: tuple[str, str], draining: bool = False) -> Response | None:
    guard = Guard(METHODS, Hosts("127.0.0.1", 8080, (), ()), Authenticator(), lambda: draining)
    refusal = guard.admit(method, target, Headers(fields))
    assert not isinstance(refusal, Coroutine)  # nobody's keys have to be fetched here
    return refusal


@pytest.mark.parametrize(
    ("method", "target", "changed", "status"),
    [
        ("POST", "/mcp", {}, None), ("POST", "/mcp?a=/b", {}, None), ("GET", "/mcp", {"content-type": "x"}, None),
        ("POST", "/mcp", {"content-type": "Application/JSON ; charset=\"UTF-8\""}, None),
        ("POST", "/mcp", {"content-type": "application/json; charset=latin-1"}, 415),
        ("POST", "/mcp", {"content-type": "application/json; charset=utf-8; charset=utf-7"}, 415),
        ("POST", "/mcp", {"content-type": "text/plain"}, 415), ("POST", "/mcp", {"content-type": ""}, 415),
        ("POST", "/mcp", {"content-type": "application/jsonp"}, 415),
        ("POST", "/mcp/", {}, 404), ("POST", "/MCP", {}, 404), ("GET", "/", {}, 404), ("GET", "/%6dcp", {}, 404),
        ("PUT", "/mcp", {}, 405), ("post", "/mcp", {}, 405), ("POST", "/sse", {}, 405),
        ("POST", "/mcp", {"host": "evil.example"}, 421), ("GET", "/nothing", {"host": "evil.example"}, 421),
        ("POST", "/mcp", {"origin": "https://evil.example"}, 403), ("POST", "/mcp", {"origin": "null"}, 403),
    ],
)  # fmt: skip
def test_a_head_is_admitted_or_has_its_status(
    method: str, target: str, changed: dict[str, str], status: int | None
) -> None:
    refused = admit(method, target, *{**GOOD, **changed}.items())
    assert (refused.status if refused is not None else None) == status
    if refused is not None:
        assert json.loads(refused.body)["error"]["message"]


def test_a_method_that_is_not_allowed_is_told_those_that_are() -> None:
    refused = admit("PUT", "/mcp", *GOOD.items())
    assert refused is not None
    assert ("allow", "POST, GET, DELETE") in refused.headers


@pytest.mark.parametrize("name", ["host", "origin", "content-type"])
def test_a_header_that_stands_twice_is_refused(name: str) -> None:
    refused = admit("POST", "/mcp", *GOOD.items(), (name, "x"), (name, "y"))
    assert refused is not None
    assert (refused.status, name in refused.body.decode()) == (400, True)


def test_nobody_is_let_in_while_we_are_about_to_end() -> None:
    refused = admit("POST", "/mcp", *GOOD.items(), draining=True)
    assert refused is not None
    assert (refused.status, ("retry-after", "1") in refused.headers) == (503, True)


def test_where_nobody_has_to_say_who_they_are_nobody_is_anybody() -> None:
    guard = Guard(METHODS, Hosts("127.0.0.1", 8080, (), ()), Authenticator(), lambda: False)
    assert asyncio.run(guard.caller(Headers([("authorization", "Bearer x")]))) is None
