"""What the server gets of a client's headers, and what a lost server, a lost engine and a changed policy do."""

from __future__ import annotations

import json
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.support.listener import Listener, sidecar
from tests.support.peer import Peer, child_pids, command_line, denied, kind, until
from tests.wire.http.client import Agent, call, first_message, listing, mirrors, stateless
from tests.wire.http.running import POLICY, running
from tests.wire.http.server import GONE, HIDDEN, Asked, Upstream, result, stream

LISTEN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "subscriptions/listen",
    "params": {"notifications": {"toolsListChanged": True}},
}


def engine(listener: Listener) -> int:
    (found,) = [pid for pid in child_pids(listener.process.pid) if "--server" in command_line(pid)]
    return found


def test_the_operators_headers_reach_the_server_and_the_clients_credentials_do_not(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "from-env")
    (tmp_path / "value").write_text("Bearer from-file\n")
    fixed = ("--header", "X-Key: env:UPSTREAM_KEY", "--header", f"Authorization: file:{tmp_path / 'value'}")
    with running(tmp_path / "run", *fixed, "--upstream", upstream.url) as listener:
        agent = Agent(
            listener.url, "Authorization: Bearer mine", "Cookie: a=b", "DPoP: x", "X-Key: mine", "X-Other: stays",
            "User-Agent: passes", "Connection: close, TE", "Keep-Alive: timeout=5", "TE: trailers",
            "Proxy-Authorization: Basic x", "Proxy-Connection: close", "Referer: http://x/", "Origin: http://localhost",
        )  # fmt: skip
        assert agent.post(call("shown")).status == 200
        asked = upstream.asked("shown")[0]
        assert (asked.header("x-key"), asked.header("authorization")) == ("from-env", "Bearer from-file")
        assert (asked.header("user-agent"), asked.header("host")) == ("passes", f"127.0.0.1:{upstream.port}")
        for name in ("cookie", "dpop", "x-other", "keep-alive", "te", "proxy-authorization", "proxy-connection",
                     "referer", "origin", "connection"):  # fmt: skip
            assert asked.header(name) is None, name
        upstream.says["shown"] = lambda asked, connection: connection.sendall(
            result(asked, {}, "Set-Cookie: a=b", "Connection: X-Named", "X-Named: stays", "X-Other: passes")
        )
        headers = agent.post(call("shown")).headers
        assert headers["x-other"] == "passes"
        assert not {"set-cookie", "x-named"} & headers.keys()


BELIEVED = (
    "X-Forwarded-For", "X-Forwarded-User", "X-Real-IP", "Forwarded", "X-Remote-User", "X-Auth-Request-User",
    "X-Original-URL", "Via", "True-Client-IP", "CF-Connecting-IP", "X-Client-Cert", "X-Amzn-Oidc-Identity",
    "X_Forwarded_User", "X-Tenant", "Mcp_Session_Id",
)  # fmt: skip


@pytest.mark.parametrize("method", ["POST", "GET", "DELETE"])
def test_a_client_does_not_tell_the_server_who_it_is_or_where_it_comes_from(
    relay: Listener, upstream: Upstream, method: str
) -> None:
    agent = Agent(relay.url, *(f"{name}: believed" for name in BELIEVED))
    agent.post(call("shown") if method == "POST" else b"", method=method)
    (asked,) = upstream.seen
    assert "believed" not in dict(asked.headers).values()


def test_a_client_tells_the_server_what_the_operator_lets_it(upstream: Upstream, tmp_path: Path) -> None:
    options = ("--forward-header", "X-Tenant", "--forward-header", "x-forwarded-for")
    with running(tmp_path, *options, "--upstream", upstream.url) as listener:
        Agent(listener.url, "X-Tenant: a", "X-Forwarded-For: b", "X-Real-IP: c").post(call("shown"))
    (asked,) = upstream.asked("shown")
    assert [asked.header(name) for name in ("x-tenant", "x-forwarded-for", "x-real-ip")] == ["a", "b", None]


@pytest.mark.parametrize("name", ["Mcp-Method", "mcp-name", "Content-Type", "Authorization", "Host", "Mcp-Param-A"])
def test_a_request_that_has_a_judged_header_taken_away_reaches_nobody(
    relay: Listener, hosted: Listener, upstream: Upstream, name: str
) -> None:
    for listener in (relay, hosted):
        message = stateless(call("shown"))
        assert Agent(listener.url).post(message, *mirrors(message), f"Connection: close, {name}").status == 400
    assert upstream.seen == []


def test_the_clients_credentials_are_sent_on_where_the_operator_says_so(upstream: Upstream, tmp_path: Path) -> None:
    with running(tmp_path, "--forward-authorization", "--upstream", upstream.url) as listener:
        assert Agent(listener.url, "Authorization: Bearer mine").post(call("shown")).status == 200
        assert upstream.asked("shown")[0].header("authorization") == "Bearer mine"


def test_a_server_that_is_not_there_is_an_error_at_once_and_a_server_that_comes_is_used(tmp_path: Path) -> None:
    with Upstream() as upstream:
        upstream.stop()
        with running(tmp_path, "--upstream", upstream.url) as listener:
            agent = Agent(listener.url)
            for _ in range(2):
                assert agent.post(call("shown", None, "a")).message == {"jsonrpc": "2.0", "id": "a", "error": GONE}
                assert denied(agent.call("forbidden")) == "never"
                assert agent.post(b"", method="GET").status == 502
                upstream.start_again()
                session = Agent.with_session(listener.url)
                assert "result" in session.call("shown")
                upstream.stop()
                assert session.call("shown")["error"]["code"] == -32000


@pytest.mark.parametrize("ends_by", ["end of input", "SIGTERM"])
def test_the_bridge_ends_its_session_at_the_server_and_itself(upstream: Upstream, tmp_path: Path, ends_by: str) -> None:
    with Peer(sidecar(tmp_path, POLICY, "--upstream", upstream.url), tmp_path) as bridge:
        bridge.wait_for_error("ready\n")
        bridge.initialize()
        assert [tool["name"] for tool in bridge.request("tools/list")["result"]["tools"]] == ["shown"]
        assert denied(bridge.call("forbidden")) == "never"
        assert "result" in bridge.call("shown")
        if ends_by == "SIGTERM":
            bridge.process.send_signal(signal.SIGTERM)
            bridge.wait(2)
        else:
            bridge.close()
            assert bridge.wait(2) == 0
    (farewell,) = upstream.asked("DELETE")
    assert farewell.header("mcp-session-id") == upstream.asked("shown")[0].header("mcp-session-id")
    assert upstream.asked("forbidden") == []
    assert "Traceback" not in bridge.errors


def test_without_an_engine_calls_are_denied_in_results_and_all_else_goes_on_until_it_is_back(
    relay: Listener, upstream: Upstream
) -> None:
    agent = Agent.with_session(relay.url)
    assert "result" in agent.call("careful", {"amount": 1})
    before = len(upstream.asked("careful"))
    os.kill(engine(relay), signal.SIGKILL)
    refused = agent.post(call("careful", {"amount": 2}))
    assert refused.status == 200
    assert kind(first_message(refused)) == "engine_unavailable" or "result" in first_message(refused)
    assert agent.post({"jsonrpc": "2.0", "id": 1, "method": "ping"}).status == 200
    assert HIDDEN not in agent.post(listing()).body.decode()
    until(lambda: kind(agent.call("careful", {"amount": 3})) is None)
    passed = [asked.message["params"]["arguments"]["amount"] for asked in upstream.asked("careful")[before:]]
    assert 3 in passed
    assert denied(agent.call("careful", {"amount": 6})) is not None


def test_clients_that_listen_are_told_of_a_changed_policy(upstream: Upstream, tmp_path: Path) -> None:

    def open_stream(asked: Asked, connection: socket.socket) -> None:
        connection.sendall(stream(end=False))
        connection.recv(1)

    upstream.says |= {"GET": open_stream, "subscriptions/listen": open_stream}
    listen = stateless(LISTEN)
    for name, options in (("relay", ("--upstream", upstream.url)), ("child", ())):
        folder = tmp_path / name
        with running(folder, *options) as listener:
            agent = Agent.with_session(listener.url)
            with agent.listen() as stream_, Agent(listener.url).opened(listen, *mirrors(listen)) as subscribed:
                if name == "relay":
                    assert subscribed.begin()[0] == 200
                (folder / "policy.yaml").write_text(POLICY.replace(HIDDEN, "shown"))
                assert stream_.told()["method"] == "notifications/tools/list_changed"
                if name == "relay":
                    told = subscribed.told()
                    assert told["method"] == "notifications/tools/list_changed"
                    assert told["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": 1}
            assert "shown" not in json.dumps(first_message(agent.post(listing()))["result"])
