"""Whatever bytes come to a port, and however a connection ends: nobody else notices, and it is no defect of ours."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fuzzing import examples
from tests.support.listener import Listener
from tests.wire.http.client import Agent, call, hello
from tests.wire.http.test_contained import PORTS, listener, ports

__all__ = ["listener", "ports"]  # fixtures

_MESSAGES = [json.dumps(one).encode() for one in (hello(), call("shown"), call("forbidden"), {"jsonrpc": "2.0"})]
_TARGETS = st.sampled_from([b"/mcp", b"/metrics", b"/readyz", b"/healthz", b"/bundles/intercept.tar.gz", b"/", b"*"])
_LINES = st.sampled_from([
    b"Host: localhost", b"Host: evil.example", b"Content-Type: application/json", b"Accept: text/plain; version=x",
    b"Accept: application/json, text/event-stream", b"Content-Length: 5", b"Content-Length: 99999999999",
    b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Expect: 100-continue", b"Connection: close",
    b"Connection: upgrade", b"Upgrade: h2c", b"Authorization: Bearer x", b"Authorization: Bearer y", b"Prefer: wait=1",
    b"Origin: null", b"Mcp-Session-Id: x", b"Last-Event-ID: 9.9", b"MCP-Protocol-Version: 2026-07-28",
    b"Mcp-Method: tools/call", b"If-None-Match: *", b"X:\x00", b"\xff\xff: \xff", b": ", b" folded",
])  # fmt: skip
_HEADS = st.builds(
    lambda method, target, lines, end: b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), *lines]) + end,
    st.sampled_from([b"GET", b"POST", b"DELETE", b"HEAD", b"PRI", b"OPTIONS", b"get"]),
    _TARGETS,
    st.lists(_LINES, max_size=8),
    st.sampled_from([b"\r\n\r\n", b"\n\n", b"\r\n", b""]),
)
_WHOLE = st.builds(
    lambda body, lines: b"\r\n".join([
        b"POST /mcp HTTP/1.1", b"Host: localhost", b"Content-Type: application/json",
        b"Accept: application/json, text/event-stream", b"Content-Length: %d" % len(body), *lines,
    ]) + b"\r\n\r\n" + body,
    st.sampled_from(_MESSAGES) | st.binary(max_size=40) | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["jsonrpc", "id", "method", "params", "result", "error", "name"]), inner, max_size=6
        ),
    ).map(lambda value: json.dumps(value).encode()),
    st.lists(_LINES, max_size=2),
)  # fmt: skip
_CHUNKS = st.sampled_from([b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"1;x=y\r\nz\r\n", b"-1\r\n"])
_PIECES = st.lists(_WHOLE | _HEADS | _CHUNKS | st.binary(max_size=60), min_size=1, max_size=4)
_ENDS = st.sampled_from(["reset", "close", "half", "read"])


@pytest.mark.fuzz
@pytest.mark.parametrize("port", PORTS)
def test_whatever_comes_to_a_port_ends_nothing_but_its_own_connection(
    listener: Listener, ports: dict[str, int], port: str
) -> None:
    @examples(40)
    @given(_PIECES, _ENDS)
    def attack(pieces: list[bytes], end: str) -> None:
        attempt(ports[port], pieces, end)
        assert listener.process.poll() is None

    attack()
    assert "result" in Agent.with_session(listener.url).call("shown")
    assert "internal error" not in listener.errors


def attempt(port: int, pieces: list[bytes], end: str) -> None:
    """Send pieces one by one, and end as told."""
    with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        if end == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for piece in pieces:
            connection.sendall(piece)
        if end == "half":
            connection.shutdown(socket.SHUT_WR)
        if end in ("half", "read") and select.select([connection], [], [], 0.02)[0]:
            connection.recv(1 << 16)
