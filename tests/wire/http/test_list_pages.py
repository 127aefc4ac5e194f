"""A list of tools in pages, over HTTP: what the policy names is looked for once one session has got all of them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.wire.http.client import Agent, first_message, listing, mirrors, stateless
from tests.wire.http.running import running
from tests.wire.http.server import Asked, Say, Upstream, http, reply, tools

POLICY = "tools: {first: {rules: []}, second: {rules: []}, misspelt: {rules: []}, 'x*': {rules: []}}\n"
MISSING = "the policy names tools that the server lacks: misspelt\n"


@pytest.fixture(autouse=True)
def _pages(_anew: None, upstream: Upstream) -> None:
    """The second page to whoever asks with the cursor, else the first."""
    upstream.says["tools/list"] = page({"tools": tools("first"), "nextCursor": "2"})
    upstream.says["2"] = page({"tools": tools("second")})


def page(result: dict[str, Any]) -> Say:
    def say(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(http(200, json.dumps(reply(asked.id, result)).encode(), kind="application/json"))

    return say


def test_what_is_missing_is_told_once_one_session_has_all_pages(upstream: Upstream, tmp_path: Path) -> None:
    with running(tmp_path, "--upstream", upstream.url, policy=POLICY) as relay:
        one, other = (Agent.with_session(relay.url) for _ in range(2))
        assert "nextCursor" in first_message(one.post(listing(1)))["result"]
        assert "nextCursor" not in first_message(other.post(listing(1, cursor="2")))["result"]
        assert "lacks" not in relay.errors
        first_message(one.post(listing(2, cursor="2")))
        assert relay.errors.count(MISSING) == 1
        assert relay.errors.count("no tool of the server matches x*\n") == 1


@pytest.mark.parametrize("revision", ["2026-07-28", "without a session"])
def test_pages_that_belong_to_no_session_are_not_taken_for_one_list(
    upstream: Upstream, tmp_path: Path, revision: str
) -> None:
    with running(tmp_path, "--upstream", upstream.url, policy=POLICY) as relay:
        for message in (listing(1), listing(2, cursor="2")):
            asked = stateless(message) if revision == "2026-07-28" else message
            answer = Agent(relay.url).post(asked, *(mirrors(asked) if asked is not message else ()))
            assert "tools" in first_message(answer)["result"]
        assert "lacks" not in relay.errors
