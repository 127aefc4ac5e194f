"""No error in one connection, request or message ends the process: whoever else is there is served as before."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.session.fakes import MARKER
from tests.support.listener import Listener
from tests.support.peer import TELEMETRY, Sidecar
from tests.wire.http.client import Agent, Answer, Wire
from tests.wire.http.running import running
from tests.wire.http.server import Upstream

PORTS = ("listener", "telemetry", "bundle")


@pytest.fixture(scope="module")
def listener(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listener]:
    """A sidecar to attack; whatever is done to it, it must be there in the end."""
    with running(tmp_path_factory.mktemp("attacked"), "--upstream", upstream.url) as program:
        yield program
        assert program.process.poll() is None


@pytest.fixture(scope="module")
def ports(listener: Listener) -> dict[str, int]:
    """Every port that the sidecar listens on, by what it is for."""
    telemetry = re.search(r"telemetry on (http://\S+)", listener.errors)
    assert telemetry is not None
    known = {"listener": urlsplit(listener.url).port or 0, "telemetry": urlsplit(telemetry[1]).port or 0}
    (bundle,) = _listening(listener.process.pid) - set(known.values())
    return known | {"bundle": bundle}


def _listening(pid: int) -> set[int]:
    """The TCP ports that a process listens on."""
    ours = {Path(f"/proc/{pid}/fd/{one.name}").readlink().name for one in Path(f"/proc/{pid}/fd").iterdir()}
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {int(line[1].split(":")[1], 16) for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in ours}


def reset(port: int, data: bytes = b"") -> None:
    """Connect, say something, and break the connection at once, as health checks of load balancers do."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(data)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("data", [b"", b"G", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_connections_that_are_reset_before_anybody_looked_at_them_end_nothing(
    listener: Listener, ports: dict[str, int], port: str, data: bytes
) -> None:
    for _ in range(50):
        reset(ports[port], data)
    assert "result" in Agent.with_session(listener.url).call("shown")
    assert listener.process.poll() is None
    assert "internal error" not in listener.errors


@pytest.mark.parametrize("accept", ["text/plain; version=x", "application/openmetrics-text; version=a", "\xe9", ";,;="])
def test_metrics_are_told_whatever_format_is_asked_for(ports: dict[str, int], accept: str) -> None:
    with Wire(f"http://127.0.0.1:{ports['telemetry']}") as wire:
        wire.send(f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n".encode("latin-1"))
        answer = wire.answer()
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")
    assert b"mcp_policy_build_info" in answer.body


BROKEN = """
from sidecar.mcp import tool_call

def read_call(message, _whole=tool_call.read_call):
    if message.params["name"] == "broken":
        raise RuntimeError(str(message.params))
    return _whole(message)

def outcome(response, _whole=tool_call.outcome):
    if "out of order" in str(response.result):
        raise RuntimeError(str(response.result))
    return _whole(response)

tool_call.read_call, tool_call.outcome = read_call, outcome
"""
"""Put into the sidecar: a call of one tool, and an answer with some words in it, meet a defect of ours."""


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str]:
    """An environment in which the sidecar has a defect."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(BROKEN)
    return {"PYTHONPATH": str(tmp_path / "broken")}


def test_on_stdio_a_defect_of_ours_ends_one_message_and_is_answered_logged_and_counted(
    tmp_path: Path, broken: dict[str, str]
) -> None:
    with Sidecar(tmp_path, "default: allow\n", *TELEMETRY, env=broken) as sidecar:
        sidecar.initialize()
        refused = sidecar.call("broken", {"pin": MARKER})["error"]
        lost = sidecar.call("t", {"pin": f"out of order {MARKER}"})["error"]
        assert (refused["code"], lost["code"]) == (-32603, -32603)
        assert "result" in sidecar.call("t")
        assert len(sidecar.received) == 2
        assert sidecar.metric("internal_errors_total") == 2
        for error in (refused, lost):
            assert error["message"].rpartition(" ")[2] in sidecar.errors
        assert MARKER not in sidecar.errors
        assert sidecar.end() == 0


def test_over_http_a_defect_of_ours_ends_one_request_and_is_answered(
    upstream: Upstream, tmp_path: Path, broken: dict[str, str]
) -> None:
    for options in (("--upstream", upstream.url), ()):
        with running(tmp_path / str(len(options)), *options, env=broken) as listener:
            agent = Agent.with_session(listener.url)
            upstream.seen.clear()
            assert agent.call("broken")["error"]["code"] == -32603
            assert upstream.seen == []
            assert "result" in agent.call("shown")
            assert listener.process.poll() is None


def probe(port: int, target: str = "/readyz", host: str = "localhost") -> Answer:
    """What a probe of the kubelet gets."""
    with Wire(f"http://127.0.0.1:{port}") as wire:
        wire.send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        return wire.answer()


@pytest.mark.parametrize("said", [b"", b"GET /readyz HT", b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"])
def test_no_number_of_connections_keeps_a_probe_from_its_answer(
    listener: Listener, ports: dict[str, int], said: bytes
) -> None:
    with ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(Wire(f"http://127.0.0.1:{ports['telemetry']}")).send(said)
        for _ in range(3):
            assert probe(ports["telemetry"]).status == 200
            assert probe(ports["telemetry"], "/healthz").status == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 200), ("localhost:1", 200), ("10.1.2.3", 200), ("10.1.2.3:9464", 200), ("[fd00::1]:9464", 200),
     ("evil.example", 421), ("evil.example:9464", 421), ("10.1.2.3.evil.example", 421), ("", 421)],
)  # fmt: skip
def test_telemetry_answers_to_addresses_and_localhost_and_to_no_name_of_a_page(
    ports: dict[str, int], host: str, status: int
) -> None:
    for target in ("/readyz", "/metrics"):
        assert probe(ports["telemetry"], target, host).status == status


def test_telemetry_answers_to_a_name_that_the_listener_admits(upstream: Upstream, tmp_path: Path) -> None:
    with running(tmp_path, "--upstream", upstream.url, "--allow-host", "mcp.example") as listener:
        telemetry = re.search(r"telemetry on http://127.0.0.1:(\d+)", listener.errors)
        assert telemetry is not None
        assert probe(int(telemetry[1]), host="mcp.example:9464").status == 200
        assert probe(int(telemetry[1]), host="other.example").status == 421
