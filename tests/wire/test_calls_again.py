"""A call that looks like one that came before, but for a number that is called id: each is judged by what it says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.peer import Sidecar, kind
from tests.wire.http.client import Agent, first_message
from tests.wire.http.running import received, running

POLICY = """
tools:
  pay:
    rules:
      - {name: five, conditions: [{path: args.id, op: eq, value: 5}]}
"""

CALLS = [
    b'{"params":{"arguments":{"id":%d,"x":1},"name":"pay"},"jsonrpc":"2.0","method":"tools/call","id":6}',
    b'{"params":{"arguments":{"x\\"id":1,"id":%d},"name":"pay"},"jsonrpc":"2.0","method":"tools/call","id":6}',
    b'{"method":"tools/call","params":{"name":"pay","arguments":{"x":1,"id":%d}},"jsonrpc":"2.0","id":6}',
    b'{"params":{"name":"pay","arguments":{"id":%d}},"method":"tools/call","id":6,"jsonrpc":"2.0"}',
    b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"pay","arguments":{"id":%d}}}',
]
VALUES = (5, 5, 5, 6, 7, 4, 999_999, 5)


def arguments(line: str | bytes) -> Any:
    return json.loads(line)["params"]["arguments"]["id"]


@pytest.mark.parametrize("call", CALLS)
def test_on_stdio_a_number_in_the_arguments_is_judged_each_time(tmp_path: Path, call: bytes) -> None:
    with Sidecar(tmp_path, POLICY) as sidecar:
        for value in VALUES:
            sidecar.send_bytes(call % value + b"\n")
            answer = sidecar.read()
            assert (answer["id"], kind(answer)) == (6, None if value == 5 else "rule")
        assert list(map(arguments, sidecar.received)) == [5] * VALUES.count(5)
        hashes = [line["arguments_hash"] for line in sidecar.audit]
    assert [hashes.index(one) for one in hashes] == [VALUES.index(value) for value in VALUES]


def test_over_http_a_number_in_the_arguments_is_judged_each_time_in_every_session(tmp_path: Path) -> None:
    with running(tmp_path, policy=POLICY) as listener:
        agents = [Agent.with_session(listener.url) for _ in range(2)]
        for call in CALLS:
            for value in VALUES:
                for agent in agents:
                    answer = first_message(agent.post(call % value))
                    assert (answer["id"], kind(answer)) == (6, None if value == 5 else "rule")
        got = [message["params"]["arguments"]["id"] for message in received(tmp_path)]
    assert got == [5] * len(got)
    assert len(got) == len(agents) * len(CALLS) * VALUES.count(5)
