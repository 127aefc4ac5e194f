"""Clients of the stateless revision share a child; the official server takes its revision from what comes first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener, everything, sidecar
from tests.wire.http.client import Agent, first_message, hello, listing, mirrors, stateless

HEADER = "MCP-Protocol-Version: 2026-07-28"


@pytest.fixture
def official(tmp_path: Path) -> Iterator[Listener]:
    program = sidecar(tmp_path, "tools: {}", "--transport", "http", "--port", "0", "--", *everything("stdio"))
    with Listener(program, tmp_path, says="ready\n") as listener:
        yield listener


@pytest.mark.parametrize(
    "first",
    [hello(), listing(), {"jsonrpc": "2.0", "id": 1, "method": "ping"}, stateless(hello()), listing(_meta={})],
    ids=["initialize", "a list that says no revision", "ping", "initialize that says its revision", "an empty _meta"],
)
def test_no_first_message_of_one_client_takes_the_server_from_the_others(
    official: Listener, first: dict[str, Any]
) -> None:
    headers = mirrors(first) if "_meta" in first.get("params", {}) and first["params"]["_meta"] else (HEADER,)
    refused = Agent(official.url).post(first, *headers)
    assert refused.code in (-32601, -32602)
    message = stateless(listing())
    answer = Agent(official.url).post(message, *mirrors(message))
    assert len(first_message(answer)["result"]["tools"]) > 3
