"""A receiver of webhooks on loopback: keeps what came, and answers as it is told, one answer after the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from tests.support.peer import SECONDS, until

TAKEN: Final = b"HTTP/1.1 204 No Content\r\n\r\n"


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """An answer with a status."""
    lines = (f"HTTP/1.1 {code} No reason", f"content-length: {len(body)}", *headers, "", "")
    return "\r\n".join(lines).encode() + body


@dataclass(frozen=True, slots=True)
class Got:
    """What came: the path with its query, the headers with their names in lower case, the body."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with `says`, in turn, and with the last one again and again. While `waits` is not set it says nothing."""

    says: list[bytes] = field(default_factory=lambda: [TAKEN])
    got: list[Got] = field(default_factory=list)
    waits: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/hooks/T0/s3cr3t-path"

    def wait_for(self, count: int) -> list[Got]:
        """What came, once it is so much."""
        until(lambda: len(self.got) >= count)
        return self.got


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of many that come at once none is kept waiting by the kernel


@contextmanager
def receiving(*says: bytes) -> Iterator[Receiver]:
    """A receiver for the length of a `with`."""
    receiver = Receiver(list(says) or [TAKEN])
    receiver.waits.set()

    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            with receiver.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.got.append(Got(self.path, headers, body))
                answer = receiver.says.pop(0) if len(receiver.says) > 1 else receiver.says[0]
            receiver.waits.wait(SECONDS)
            self.close_connection = True
            try:
                self.wfile.write(answer)
            except OSError:
                return  # whoever asked did not wait for all of it

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.waits.set()
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)
