"""A client on a raw socket: it sends whatever bytes a test likes, and reads strictly what comes back."""

from __future__ import annotations

import json
import select
import socket
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

from tests.support.peer import SECONDS

STATELESS: Final = "2026-07-28"
SESSION: Final = "mcp-session-id"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came: the header names are in lower case, of a repeated header the last counts."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def message(self) -> Any:
        """The JSON of its body."""
        return json.loads(self.body)

    @property
    def code(self) -> int | None:
        """The code of the JSON-RPC error that it is; None for anything else."""
        try:
            found: int = self.message["error"]["code"]
        except (ValueError, KeyError, TypeError):
            return None
        return found


class Wire:
    """One connection to a listener. Every wait is bounded."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        assert where.hostname is not None
        self.host = where.netloc
        self._socket = socket.create_connection((where.hostname, where.port or 80), timeout=SECONDS)
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send bytes as they are; a server that closed does not keep a client from it."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def ask(self, body: Any, *headers: str, method: str = "POST", target: str = "/mcp") -> None:
        """Send a request without waiting; a body that is no bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body, separators=(",", ":")).encode()
        self.send(head(self.host, *headers, method=method, target=target, length=len(data)) + data)

    def begin(self) -> tuple[int, dict[str, str]]:
        """The head of an answer; interim ones are passed over."""
        while True:
            lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
            status = int(lines[0].split(" ")[1])
            if status >= 200:
                pairs = (line.partition(":") for line in lines[1:] if line)
                return status, {name.lower(): value.strip() for name, _, value in pairs}

    def answer(self) -> Answer:
        """A whole answer."""
        status, headers = self.begin()
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, b"".join(iter(self.chunk, b"")))
        return Answer(status, headers, self._exactly(int(headers.get("content-length", 0))))

    def chunk(self) -> bytes:
        """The next chunk; empty for the last one."""
        size = int(self._until(b"\r\n"), 16)
        data = self._exactly(size)
        assert self._exactly(2) == b"\r\n"
        return data

    def event(self) -> dict[str, str]:
        """The fields of the next event on a stream; empty at its end. Events of comments only are passed over."""
        while chunk := self.chunk():
            fields = [line.partition(": ") for line in chunk.decode().split("\n") if line and line != ":"]
            if fields:
                return {name: value for name, _, value in fields}
        return {}

    def told(self) -> Any:
        """The next message on a stream; None at its end."""
        while event := self.event():
            if event.get("data"):
                return json.loads(event["data"])
        return None

    def rest(self) -> bytes:
        """Everything until the connection ends."""
        while self._more():
            pass
        rest, self._buffer = self._buffer, b""
        return rest

    def is_silent(self, seconds: float) -> bool:
        """True when nothing came for so long."""
        return not self._buffer and not select.select([self._socket], [], [], seconds)[0]

    def _until(self, end: bytes) -> bytes:
        while (found := self._buffer.find(end)) < 0:
            if not self._more():
                raise EOFError(f"the connection ended after {self._buffer[:500]!r}")
        data, self._buffer = self._buffer[:found], self._buffer[found + len(end) :]
        return data

    def _exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            if not self._more():
                raise EOFError(f"the connection ended after {self._buffer[:500]!r}")
        data, self._buffer = self._buffer[:count], self._buffer[count:]
        return data

    def _more(self) -> bool:
        try:
            data = self._socket.recv(1 << 20)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)


class Agent:
    """A client of one listener with headers of its own; each request is a connection of its own."""

    def __init__(self, url: str, *headers: str) -> None:
        self.url = url
        self.headers = headers

    @classmethod
    def with_session(cls, url: str, *headers: str, revision: str = "2025-11-25") -> Agent:
        """An agent that has said hello."""
        agent = cls(url, *headers)
        answer = agent.post(hello(revision))
        assert answer.status == 200, answer
        agent.headers = (*headers, f"Mcp-Session-Id: {answer.headers[SESSION]}")
        assert agent.post({"jsonrpc": "2.0", "method": "notifications/initialized"}).status == 202
        return agent

    @property
    def session(self) -> str:
        """The id of its session."""
        (found,) = [line.partition(": ")[2] for line in self.headers if line.startswith("Mcp-Session-Id")]
        return found

    def opened(self, body: Any, *headers: str, method: str = "POST", target: str = "/mcp") -> Wire:
        """A connection on which a request was sent."""
        wire = Wire(self.url)
        wire.ask(body, *self.headers, *headers, method=method, target=target)
        return wire

    def post(self, body: Any, *headers: str, method: str = "POST", target: str = "/mcp") -> Answer:
        """The answer to one request."""
        with self.opened(body, *headers, method=method, target=target) as wire:
            return wire.answer()

    def call(self, tool: str, arguments: Any = None, id_: Any = 1, *headers: str) -> Any:
        """The message that answers a call."""
        answer = self.post(call(tool, arguments, id_), *headers)
        return first_message(answer)

    def listen(self, *headers: str) -> Wire:
        """A stream on which the server speaks unasked; its head was read."""
        wire = self.opened(b"", "Accept: text/event-stream", *headers, method="GET")
        status, _ = wire.begin()
        assert status == 200
        return wire


def head(host: str, *headers: str, method: str = "POST", target: str = "/mcp", length: int = 0) -> bytes:
    """The head of a request. A header that is given replaces the one that would be there without it."""
    given = {line.partition(":")[0].lower() for line in headers}
    usual = {
        "host": f"Host: {host}", "content-type": "Content-Type: application/json",
        "accept": "Accept: application/json, text/event-stream", "content-length": f"Content-Length: {length}",
    }  # fmt: skip
    lines = [f"{method} {target} HTTP/1.1", *(usual[name] for name in usual if name not in given), *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def hello(revision: str = "2025-11-25", id_: Any = 0) -> dict[str, Any]:
    """The request `initialize`."""
    about = {"name": "agent", "version": "1"}
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": about}
    return {"jsonrpc": "2.0", "id": id_, "method": "initialize", "params": params}


def call(tool: str, arguments: Any = None, id_: Any = 1, **params: Any) -> dict[str, Any]:
    """The request `tools/call`."""
    params = {"name": tool, "arguments": {} if arguments is None else arguments, **params}
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/call", "params": params}


def listing(id_: Any = 1, **params: Any) -> dict[str, Any]:
    """The request `tools/list`."""
    return {"jsonrpc": "2.0", "id": id_, "method": "tools/list", "params": params}


def stateless(message: dict[str, Any], **meta: Any) -> dict[str, Any]:
    """A message as revision 2026-07-28 has it."""
    prefix = "io.modelcontextprotocol/"
    about = {f"{prefix}protocolVersion": STATELESS, f"{prefix}clientInfo": {"name": "a", "version": "1"}}
    about[f"{prefix}clientCapabilities"] = {}
    return message | {"params": {**message.get("params", {}), "_meta": about | meta}}


def mirrors(message: dict[str, Any]) -> tuple[str, ...]:
    """The headers that go with a message of revision 2026-07-28."""
    name = message.get("params", {}).get("name")
    named = (f"Mcp-Name: {name}",) if name is not None else ()
    return (f"MCP-Protocol-Version: {STATELESS}", f"Mcp-Method: {message['method']}", *named)


def first_message(answer: Answer) -> Any:
    """The message in an answer that is JSON, or the first one of its events."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = answer.body.decode().split("\n")
        return next(json.loads(line[6:]) for line in lines if line.startswith("data: {"))
    return answer.message


def gone_within(seconds: float, wire: Wire) -> bool:
    """True when a connection ends in that time."""
    deadline = time.monotonic() + seconds
    wire._socket.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        wire.rest()
    except TimeoutError:
        return False
    return True
