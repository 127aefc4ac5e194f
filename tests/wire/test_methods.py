"""Methods that policy does not permit reach no server, on whatever way they come."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.listener import Listener, sidecar
from tests.support.peer import TELEMETRY, Sidecar, until
from tests.wire.http.client import Agent, first_message, hello, mirrors, stateless
from tests.wire.http.server import Upstream

SERVER = """
import json, sys
log = open(sys.argv[1], "w", buffering=1)
for line in sys.stdin:
    log.write(line)
    message = json.loads(line)
    for one in message if isinstance(message, list) else [message]:
        if "id" in one:
            found = {"protocolVersion": one.get("params", {}).get("protocolVersion", ""), "capabilities": {}}
            print(json.dumps({"jsonrpc": "2.0", "id": one["id"], "result": found}), flush=True)
"""

CLOSED = "default: deny\nmethods: {allow: [vendor/fine], deny: [resources/read]}\ntools: {t: }"
DENIED = ("tasks/call", "x/tools/call", "tools/execute", "sampling/createMessage", "resources/read", "intercept/x")
PASSING = ("ping", "resources/list", "vendor/fine")
NOTE = {"jsonrpc": "2.0", "method": "notifications/vendor/run", "params": {"name": "t"}}


def request(id_: Any, method: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": id_, "method": method, "params": {"name": "t", "uri": "u"}}


def command(folder: Path) -> list[str]:
    (folder / "log").touch()
    return [sys.executable, "-S", "-E", "-c", SERVER, str(folder / "log")]


def methods_in(folder: Path) -> list[str]:
    """Every method that the server of a folder got, in batches too."""
    lines = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
    return [one.get("method") for line in lines for one in (line if isinstance(line, list) else [line])]


def on_stdio(folder: Path, policy: str, *options: str) -> Sidecar:
    return Sidecar(folder, policy, *options, server=command(folder))


@contextmanager
def listening(folder: Path, policy: str, transport: str = "http") -> Iterator[Listener]:
    where = ("--transport", transport, "--port", "0")
    program = sidecar(folder, policy, *where, "--", *command(folder))
    with Listener(program, folder, says="ready\n") as listener:
        yield listener


def said(message: Any) -> tuple[int, int]:
    """What a message says: which request it refuses, and the code."""
    return message["id"], message["error"]["code"]


def test_no_unknown_method_reaches_a_server_on_stdio_under_default_deny(tmp_path: Path) -> None:
    with on_stdio(tmp_path, CLOSED, *TELEMETRY) as client:
        for number, method in enumerate(DENIED):
            client.send(request(number, method))
            assert said(client.read()) == (number, -32601)
        client.send(NOTE)
        for method in PASSING:
            client.send(request(99, method))
            assert "result" in client.read()
        assert methods_in(tmp_path) == list(PASSING)
        for label, count in (("_other", 5), ("resources/read", 1), ("sampling/createMessage", 1)):
            assert client.metric("denied_methods_total", method=label, mode="enforce") == count
        denied = [(line["method"], line["decision"], line["kind"], line["mode"]) for line in client.audit]
        assert denied == [(method, "deny", "method", "enforce") for method in (*DENIED, NOTE["method"])]


def test_none_reaches_it_in_a_batch(tmp_path: Path) -> None:
    with on_stdio(tmp_path, CLOSED) as client:
        client.send(hello("2025-03-26"))
        client.read()
        client.send_bytes(json.dumps([request(1, "tasks/call"), NOTE, request(2, "ping")]).encode() + b"\n")
        found = [client.read(), client.read()]
        assert [said(one) for answer in found if isinstance(answer, list) for one in answer] == [(1, -32601)]
        assert methods_in(tmp_path) == ["initialize", "ping"]


def test_in_monitor_mode_they_pass_and_are_counted(tmp_path: Path) -> None:
    with on_stdio(tmp_path, f"mode: monitor\n{CLOSED}", *TELEMETRY) as client:
        client.send(NOTE)
        client.send(request(1, "tasks/call"))
        assert "result" in client.read()
        assert methods_in(tmp_path) == [NOTE["method"], "tasks/call"]
        assert client.metric("denied_methods_total", method="_other", mode="monitor") == 2
        assert {line["mode"] for line in client.audit} == {"monitor"}


def test_without_default_deny_they_pass(tmp_path: Path) -> None:
    with on_stdio(tmp_path, "tools: {t: }") as client:
        client.send(NOTE)
        client.send(request(1, "tasks/call"))
        assert "result" in client.read()
        assert methods_in(tmp_path) == [NOTE["method"], "tasks/call"]


def test_a_changed_policy_closes_them_at_once(tmp_path: Path) -> None:
    with on_stdio(tmp_path, "tools: {t: }") as client:
        draft = tmp_path / "draft"
        draft.write_text("methods: {deny: [vendor/x]}\ntools: {t: }")
        draft.rename(tmp_path / "policy.yaml")
        until(lambda: "is in force" in client.errors)
        client.send(request(1, "vendor/x"))
        assert said(client.read()) == (1, -32601)


def test_none_reaches_a_server_over_http(tmp_path: Path) -> None:
    with listening(tmp_path, CLOSED) as listener:
        agent = Agent.with_session(listener.url)
        for number, method in enumerate(DENIED, 1):
            answer = agent.post(request(number, method))
            assert (answer.status, said(answer.message)) == (200, (number, -32601))  # 404 would end the session
        assert agent.post(NOTE).status == 202
        assert "result" in first_message(agent.post(request(99, "vendor/fine")))
        got = ["initialize", "notifications/initialized", "vendor/fine"]
        assert methods_in(tmp_path) == got


@pytest.mark.parametrize("method", DENIED)
def test_none_reaches_a_server_that_stateless_clients_share(tmp_path: Path, method: str) -> None:
    with listening(tmp_path, CLOSED) as listener:
        message = stateless(request(1, method))
        named = ("Mcp-Name: u",) if method == "resources/read" else ()
        headers = [line for line in mirrors(message) if named == () or not line.startswith("Mcp-Name")]
        answer = Agent(listener.url).post(message, *headers, *named)
        assert (answer.status, said(answer.message)) == (404, (1, -32601))
        assert methods_in(tmp_path) == []


def test_none_reaches_a_server_over_legacy_http(tmp_path: Path) -> None:
    with (
        listening(tmp_path, CLOSED, "sse") as listener,
        Agent(listener.url).opened(b"", method="GET", target="/sse") as opened,
    ):
        assert opened.begin()[0] == 200
        address = opened.event()["data"]
        for number, method in enumerate(DENIED, 1):
            assert Agent(listener.url).post(request(number, method), target=address).status == 202
            assert said(opened.told()) == (number, -32601)
        assert Agent(listener.url).post(NOTE, target=address).status == 202
        assert Agent(listener.url).post(request(99, "ping"), target=address).status == 202
        assert "result" in opened.told()
        assert methods_in(tmp_path) == ["ping"]


@pytest.mark.parametrize(
    ("made", "status"), [(lambda message: message, 200), (stateless, 404)], ids=["session", "stateless"]
)
def test_none_is_relayed(tmp_path: Path, made: Callable[[Any], Any], status: int) -> None:
    with Upstream() as upstream:
        program = sidecar(tmp_path, CLOSED, "--transport", "http", "--port", "0", "--upstream", upstream.url)
        with Listener(program, tmp_path, says="ready\n") as listener:
            agent = Agent.with_session(listener.url) if made is not stateless else Agent(listener.url)
            before = len(upstream.seen)
            for method in ("tasks/call", "tools/execute", "intercept/x"):
                message = made(request(1, method))
                answer = agent.post(message, *(mirrors(message) if made is stateless else ()))
                assert (answer.status, said(answer.message)) == (status, (1, -32601))
            assert agent.post(NOTE).status == 202
            assert len(upstream.seen) == before
