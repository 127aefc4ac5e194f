"""A client on stdio and a server over HTTP: sessions that the server forgets, and what is wrong with it is said."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import SIDECAR
from tests.support.peer import PATIENT, Peer
from tests.wire.http.server import Asked, Upstream, http

LIMIT = "tools: {t: {rules: [{rate_limit: 3/day}]}}\n"
SECRET = "s3cret"


class Bridged(Peer):
    """A sidecar on stdio in front of a remote server, which it gives a secret."""

    def __init__(self, folder: Path, url: str, policy: str = LIMIT) -> None:
        (folder / "policy.yaml").write_text(policy)
        command = [
            str(SIDECAR), "run", "-c", str(folder / "policy.yaml"), "--state-dir", str(folder / "state"), *PATIENT,
            "--header", f"Authorization: Bearer {SECRET}", "--upstream", url,
        ]  # fmt: skip
        super().__init__(command, folder)
        self.wait_for_error("ready\n")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


class Forgetting:
    """Refuses calls in all sessions but the newest, in one way; it notes the sessions in which calls ran."""

    def __init__(self, upstream: Upstream, status: int, body: bytes) -> None:
        self.known = "server-session-1"
        self.ran: list[str | None] = []
        self._upstream = upstream
        self._status = status
        self._body = body
        upstream.says["t"] = self._call

    def _call(self, asked: Asked, connection: socket.socket) -> None:
        if asked.header("mcp-session-id") != self.known:
            connection.sendall(http(self._status, self._body))
            return
        self.ran.append(asked.header("mcp-session-id"))
        self._upstream._behave(asked, connection)


def test_a_call_in_a_session_that_the_server_forgot_runs_once_in_another(tmp_path: Path, upstream: Upstream) -> None:
    server = Forgetting(upstream, 404, b"")
    with Bridged(tmp_path, upstream.url) as sidecar:
        sidecar.initialize()
        assert "result" in sidecar.call("t")
        server.known = "server-session-2"
        assert "result" in sidecar.call("t")
        assert "result" in sidecar.call("t")
        assert server.ran == ["server-session-1", "server-session-2", "server-session-2"]
        assert [asked.header("mcp-session-id") for asked in upstream.asked("notifications/initialized")] == [
            "server-session-1", "server-session-2",
        ]  # fmt: skip
        sidecar.wait_for_error("the MCP server forgot the session, another one is open")
        # Each counted once, though one was put twice.
        assert sidecar.call("t")["result"]["isError"] is True


def test_a_call_that_status_400_about_the_session_answers_counts_and_the_next_runs_in_another(
    tmp_path: Path, upstream: Upstream
) -> None:
    server = Forgetting(upstream, 400, b'{"error":"Bad Request: No valid session ID provided"}')
    with Bridged(tmp_path, upstream.url) as sidecar:
        sidecar.initialize()
        server.known = "server-session-2"
        assert sidecar.call("t")["error"]["data"] == {"upstream": "status", "status": 400}
        assert "result" in sidecar.call("t")
        assert "result" in sidecar.call("t")
        assert server.ran == ["server-session-2", "server-session-2"]
        assert sidecar.call("t")["result"]["isError"] is True


def test_a_call_that_ran_before_the_server_spoke_of_a_session_does_not_run_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    error = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"output: invalid value for \'session\'"}}'
    ran: list[Asked] = []

    def run(asked: Asked, connection: socket.socket) -> None:
        ran.append(asked)
        connection.sendall(http(400, error))

    upstream.says["t"] = run
    with Bridged(tmp_path, upstream.url) as sidecar:
        sidecar.initialize()
        for _ in range(3):
            assert sidecar.call("t")["error"]["data"] == {"upstream": "status", "status": 400}
        assert sidecar.call("t")["result"]["isError"] is True
        assert len(ran) == 3


TROUBLE: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "a status": (http(503, b"private words"), {"upstream": "status", "status": 503}, "answered status 503"),
    "credentials": (http(401, b""), {"upstream": "status", "status": 401}, "it wants credentials"),
    "a compressed answer": (
        http(200, b"\x1f\x8b", "Content-Encoding: gzip"), {"upstream": "unreadable"},
        "it has a Content-Encoding, though identity was asked for",
    ),
    "the end": (b"", {"upstream": "lost"}, "the connection ended before the answer was complete"),
}  # fmt: skip


@pytest.mark.parametrize("case", TROUBLE)
def test_what_is_wrong_with_the_server_is_told_to_the_client_and_in_the_log(
    tmp_path: Path, upstream: Upstream, case: str
) -> None:
    said, data, words = TROUBLE[case]

    def trouble(_: Asked, connection: socket.socket) -> None:
        connection.sendall(said)
        connection.close()

    upstream.says["t"] = trouble
    with Bridged(tmp_path, upstream.url) as sidecar:
        sidecar.initialize()
        for _ in range(2):
            error = sidecar.call("t")["error"]
            assert (error["code"], error["data"]) == (-32000, data)
            assert words in error["message"]
        assert sidecar.errors.count(words) == 1
        assert SECRET not in json.dumps(error) + sidecar.errors
        assert "private words" not in json.dumps(error) + sidecar.errors


@pytest.mark.parametrize(
    ("url", "kind"), [("http://127.0.0.1:1/mcp?token=s3cret", "refused"), ("http://no-such.invalid/mcp", "dns")]
)
def test_a_server_that_cannot_be_reached_is_told_with_the_reason_and_costs_nothing(
    tmp_path: Path, url: str, kind: str
) -> None:
    with Bridged(tmp_path, url) as sidecar:
        for _ in range(5):
            error = sidecar.call("t")["error"]
            assert (error["data"], error["message"].partition(":")[0]) == (
                {"upstream": kind}, "the MCP server cannot be reached",
            )  # fmt: skip
        assert sidecar.errors.count("cannot be reached") == 1
        assert SECRET not in json.dumps(error) + sidecar.errors
