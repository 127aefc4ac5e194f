"""An HTTP server that answers whatever a test says, byte for byte: slowly, cut off, without an end, with lies."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A request; names of headers in lower case. `descriptor` is that of its connection, below any TLS."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    descriptor: int


@dataclass(slots=True)
class Scripted:
    """Where the server is, and what it was asked so far. `over` is set when the test ends: who drips waits for it."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


Answer = Callable[[Asked], bytes | Iterable[bytes]]


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole answer; `_` in a name of a header stands for `-`."""
    lines = {"content_length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + (b"" if status == 304 else body)


@contextmanager
def scripted(answer: Answer, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> Iterator[Scripted]:
    """Answer on a port of loopback. After an answer that is no `bytes` the connection is closed."""

    class Handler(socketserver.StreamRequestHandler):
        timeout = SECONDS

        def handle(self) -> None:
            with suppress(OSError):
                while (asked := self.asked()) is not None:
                    found.asked.append(asked)
                    said = answer(asked)
                    for part in [said] if isinstance(said, bytes) else said:
                        self.connection.sendall(part)
                    if not isinstance(said, bytes):
                        return

        def asked(self) -> Asked | None:
            words = self.rfile.readline(1 << 16).decode("latin-1").split()
            if len(words) != 3:
                return None
            lines = iter(lambda: self.rfile.readline(1 << 16).decode("latin-1").strip(), "")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
            }
            return Asked(
                words[0],
                words[1],
                headers,
                self.rfile.read(int(headers.get("content-length", "0"))),
                self.connection.fileno(),
            )

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that leaves is no defect of the test."""

        def get_request(self) -> tuple[socket.socket, Any]:
            request, address = super().get_request()
            if tls is not None:
                request.settimeout(SECONDS)
                request = tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            return request, address

    with Server((host, 0), Handler) as server:
        scheme = "https" if tls is not None else "http"
        found = Scripted(f"{scheme}://{'localhost' if tls is not None else host}:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield found
        finally:
            found.over.set()
            server.shutdown()
            thread.join(SECONDS)


def dripping(server: Callable[[], Scripted], head: bytes, part: bytes) -> Iterator[bytes]:
    """A head, and then a little again and again, until the test ends."""
    yield head
    while not server().over.wait(0.02):
        yield part
