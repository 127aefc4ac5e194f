"""A real OPA behind a socket of the test's own: what goes to it is counted, and questions can be held back or failed.

The sidecar is told of it as of any OPA that somebody else started (`--opa-url`), so nothing of the sidecar's inside is
looked at. Its proofs of life (canaries) and the question for OPA's version pass as they are, and are counted apart;
while it `lies`, the canary that must be refused is allowed.
"""

from __future__ import annotations

import json
import queue
import re
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sidecar.policy.names import CANARY_ALLOWED, CANARY_DENIED, RESERVED
from tests.support.peer import SECONDS, until
from tests.support.pod_opa import PodOpa

_LENGTH = re.compile(rb"^content-length: *([0-9]+)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as the sidecar put it: the head of the request, and its body."""

    head: bytes
    body: bytes

    @property
    def size(self) -> int:
        """All bytes that were written for it."""
        return len(self.head) + len(self.body)

    @property
    def input(self) -> Any:
        """What it asks."""
        return json.loads(self.body)["input"]

    @property
    def is_about_a_call(self) -> bool:
        """True for a question that a client's `tools/call` raised."""
        return self.input["method"] == "tools/call" and not self.input["tool"].startswith(RESERVED)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A request that was read, with one question or several, and whether it is held back."""

    request: Question
    held: bool


class OpaTap:
    """A running OPA and the socket in front of it; `options` tell `sidecar run` of it."""

    def __init__(self, folder: Path) -> None:
        self.opa = PodOpa(folder)
        self.questions: list[Question] = []
        self.others = 0
        self.lies = False
        self._path = str(self.opa.run / "tap.sock")
        self._go = threading.Event()
        self._go.set()
        self._instead: bytes | None = None
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self._path)
        self._listening.listen(128)
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        self.opa.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._go.set()
        self.opa.kill()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    @property
    def options(self) -> tuple[str, ...]:
        """What `sidecar run` is told."""
        url, _, *rest = self.opa.options
        return (url, f"unix://{self._path}", *rest)

    def asked(self, tool: str | None = None) -> int:
        """How many questions about calls, of one tool or of all, came so far."""
        return sum(tool in (None, question.input["tool"]) for question in list(self.questions))

    def forget(self) -> None:
        """Count from 0 again."""
        self.questions.clear()

    @contextmanager
    def holding(self, instead: bytes | None = None) -> Iterator[None]:
        """Hold back every question about a call for the length of a `with`.

        Then they go on to OPA; with `instead` they never do, and these bytes are the answer, or the end of the
        connection where there are none.
        """
        self._go.clear()
        self._instead = instead
        try:
            yield
            until(self._is_quiet, SECONDS, "the last question that was put")
        finally:
            self._go.set()

    def wait_for(self, tool: str, count: int = 1) -> None:
        """Wait until so many questions about a tool came."""
        until(lambda: self.asked(tool) >= count, SECONDS, f"question {count} about {tool}")

    # A question counts, and is held back or not, in the same moment in which it is read (under the lock). So when
    # nothing is left to read, all that the sidecar has put so far is known.

    def _is_quiet(self) -> bool:
        with self._lock:
            return not select.select([self._listening, *self._open], [], [], 0)[0]

    def _accept(self) -> None:
        with suppress(OSError, ValueError):
            while True:
                select.select([self._listening], [], [])
                with self._lock:
                    near, _ = self._listening.accept()
                    self._open.add(near)
                threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        taken: queue.SimpleQueue[_Taken | None] = queue.SimpleQueue()
        with near, socket.socket(socket.AF_UNIX) as far:
            with suppress(OSError, ValueError):
                far.connect(str(self.opa.run / "opa.sock"))
                threading.Thread(target=_copy, args=(far, near), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(taken, near, far), daemon=True).start()
                self._read(near, taken)
            taken.put(None)
            with self._lock:
                self._open.discard(near)
            for connection in (near, far):
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _read(self, near: socket.socket, taken: queue.SimpleQueue[_Taken | None]) -> None:
        buffer = b""
        while True:
            select.select([near], [], [])
            with self._lock:
                data = near.recv(1 << 16)
                if not data:
                    return
                buffer += data
                while (found := _first(buffer)) is not None:
                    request, buffer = found
                    about_calls = [question for question in _questions(request) if question.is_about_a_call]
                    self.questions += about_calls
                    self.others += not about_calls
                    taken.put(_Taken(request, held=bool(about_calls) and not self._go.is_set()))

    def _pass_on(
        self, taken: queue.SimpleQueue[_Taken | None], near: socket.socket, far: socket.socket
    ) -> None:  # fmt: skip
        with suppress(OSError):
            while (one := taken.get()) is not None:
                if one.held:
                    self._go.wait()
                if not one.held or self._instead is None:
                    request = _about_the_other_canary(one.request) if self.lies else one.request
                    far.sendall(request.head + request.body)
                elif self._instead:
                    near.sendall(self._instead)
                else:
                    near.shutdown(socket.SHUT_RDWR)


def _about_the_other_canary(request: Question) -> Question:
    """The same request; of the canary that must be refused, OPA is asked about the one that must be allowed."""
    body = request.body.replace(CANARY_DENIED.encode(), CANARY_ALLOWED.encode())
    return Question(_LENGTH.sub(b"Content-Length: %d" % len(body), request.head), body)


def _questions(request: Question) -> list[Question]:
    """The questions of one request: several may travel together."""
    several = request.input.get("questions")
    if several is None:
        return [request]
    return [Question(request.head, json.dumps({"input": question}).encode()) for question in several.values()]


def _first(buffer: bytes) -> tuple[Question, bytes] | None:
    """The first whole request in a buffer, and what follows it."""
    head, end, rest = buffer.partition(b"\r\n\r\n")
    if not end:
        return None
    length = _LENGTH.search(head)
    if length is None:
        raise ValueError("a question without a length")
    size = int(length[1])
    if len(rest) < size:
        return None
    return Question(head + end, rest[:size]), rest[size:]


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    # The end of the one is the end of the other, as when OPA closes or dies.
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
