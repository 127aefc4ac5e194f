"""A server on a raw socket: it keeps what it was asked, and answers what a test tells it to, byte by byte."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

from tests.support.peer import SECONDS

HIDDEN: Final = "secret_tool"
"""A tool that policy hides."""


GONE: Final = {
    "code": -32000,
    "message": "the MCP server cannot be reached: the connection is refused",
    "data": {"upstream": "refused"},
}
"""What a client is told while it does not listen."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came; header names are as they were sent."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """The value of a header, None where it is not there; it stands once."""
        found = [value for each, value in self.headers if each.lower() == name.lower()]
        assert len(found) <= 1
        return found[0] if found else None

    @property
    def message(self) -> Any:
        """The JSON of its body; None where there is none."""
        return json.loads(self.body) if self.body else None

    @property
    def id(self) -> Any:
        """The id of the request in it."""
        return self.message["id"]

    @property
    def key(self) -> str:
        """What a test tells answers apart by: the tool that is called, the page that is listed, or the method."""
        message = self.message
        if not isinstance(message, dict):
            return "batch" if message is not None else self.method
        params = message.get("params") or {}
        return str(params.get("name") or params.get("cursor") or message.get("method") or "answer")


Say: TypeAlias = Callable[[Asked, socket.socket], None]


class Upstream:
    """A server with sessions. `says` has what answers requests of a key; without one, the server behaves."""

    def __init__(self) -> None:
        self.seen: list[Asked] = []
        self.says: dict[str, Say] = {}
        self._sessions = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listening.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    @property
    def calls(self) -> list[Asked]:
        """Every request so far in which the text `tools/call` stands, in whatever way."""
        return [asked for asked in list(self.seen) if b"tools" in asked.body and b"call" in asked.body]

    def asked(self, key: str) -> list[Asked]:
        """Every request of a key so far."""
        return [asked for asked in list(self.seen) if asked.key == key]

    def stop(self) -> None:
        """Listen no more, and break every connection."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start_again(self) -> None:
        """Listen where it listened before."""
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            connection.settimeout(SECONDS)
            self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while (asked := _read(connection)) is not None:
                with self._lock:
                    self.seen.append(asked)
                self.says.get(asked.key, self._behave)(asked, connection)
        self._open.discard(connection)

    def _behave(self, asked: Asked, connection: socket.socket) -> None:
        if asked.method == "GET":
            connection.sendall(http(405, b""))
            return
        message = asked.message
        if asked.method == "DELETE" or not isinstance(message, dict) or "id" not in message or "method" not in message:
            connection.sendall(http(200 if asked.method == "DELETE" else 202, b""))
            return
        headers = []
        match message["method"]:
            case "initialize":
                with self._lock:
                    self._sessions += 1
                    headers.append(f"Mcp-Session-Id: server-session-{self._sessions}")
                capabilities = {"tools": {"listChanged": True}}
                about = {"serverInfo": {"name": "hostile", "version": "1"}, "capabilities": capabilities}
                found: Any = {"protocolVersion": message["params"]["protocolVersion"], **about}
            case "tools/list":
                found = {"tools": tools("shown", HIDDEN)}
            case _:
                found = {"content": [{"type": "text", "text": "done"}]}
        connection.sendall(result(asked, found, *headers))


def http(status: int, body: bytes, *headers: str, kind: str = "application/json") -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *([f"Content-Type: {kind}"] if kind else [])]
    return ("\r\n".join([*lines, *headers]) + "\r\n\r\n").encode("latin-1") + body


def stream(*parts: bytes, end: bool = True) -> bytes:
    """An answer that is an event stream: its head, each part as a chunk, and its end."""
    start = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return start + b"".join(map(chunk, parts)) + (b"0\r\n\r\n" if end else b"")


def chunk(data: bytes) -> bytes:
    """A chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(message: Any, id_: str | None = None, kind: str | None = None) -> bytes:
    """An event with a message; one that is bytes stands as it is."""
    data = message if isinstance(message, bytes) else json.dumps(message, separators=(",", ":")).encode()
    named = f"id: {id_}\n".encode() if id_ is not None else b""
    typed = f"event: {kind}\n".encode() if kind is not None else b""
    return named + typed + b"data: " + data + b"\n\n"


def reply(id_: Any, found: Any) -> dict[str, Any]:
    """The message that answers a request."""
    return {"jsonrpc": "2.0", "id": id_, "result": found}


def result(asked: Asked, found: Any, *headers: str) -> bytes:
    """The answer, in JSON, to what was asked."""
    return http(200, json.dumps(reply(asked.id, found)).encode(), *headers)


def text(words: str) -> dict[str, Any]:
    """The result of a call."""
    return {"content": [{"type": "text", "text": words}]}


def tools(*names: str) -> list[dict[str, Any]]:
    """A list of tools."""
    return [{"name": name, "inputSchema": {"type": "object"}} for name in names]


def raw(data: bytes) -> Say:
    """Answers with bytes as they are, and closes; the end comes with the last of them."""

    def say(asked: Asked, connection: socket.socket) -> None:
        # A client that had the bytes but not yet the end could use the connection once more, and lose that request.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(data)
        connection.close()

    return say


def _read(connection: socket.socket) -> Asked | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(1 << 16)
        if not more:
            return None
        data += more
    start, _, body = data.partition(b"\r\n\r\n")
    first, *lines = start.decode("latin-1").split("\r\n")
    headers = tuple((name, value.strip()) for name, _, value in (line.partition(":") for line in lines))
    length = int(next((value for name, value in headers if name.lower() == "content-length"), 0))
    whole = bytearray(body)
    while len(whole) < length:
        more = connection.recv(1 << 16)
        if not more:
            return None
        whole += more
    method, target, _ = first.split(" ")
    return Asked(method, target, headers, bytes(whole))
