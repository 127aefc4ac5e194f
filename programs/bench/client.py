"""The client's side: calls one at a time and 32 in flight, timed, every reply checked; over two pipes here."""

from __future__ import annotations

import json
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Final

from programs.bench.errors import Failed

REVISION: Final = "2025-11-25"
IN_FLIGHT: Final = 32
SECONDS: Final = 20.0
"""Longest wait for one reply."""
START_SECONDS: Final = 90.0
"""Longest wait for the first: a large policy has to be compiled, on a machine that may be busy."""

_LINE = (
    b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"sz":%d,"path":"a.md"%b}}}\n'
)
_TEXT = 'The quick brown fox jumps over the lazy dog, and "nobody" reads it.\n'
_REPLY = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"ok"}]}}'


class Client(ABC):
    """What is the same whatever carries the messages. Raises `Failed` where the other end does not do its part.

    `always_new` makes each question differ from all before; it may be changed between turns. `payload` is the least
    number of bytes in an argument that no rule reads, `more` are other arguments as JSON, without braces. With a
    `refusal` every call is to be refused, in these words.
    """

    def __init__(self, always_new: bool, payload: int = 0, more: str = "", refusal: str = "") -> None:
        self.always_new = always_new
        self.refusal = refusal
        self._more = b',"text":' + json.dumps(_TEXT * (payload // len(_TEXT) + 1)).encode() if payload else b""
        self._more += f",{more}".encode() if more else b""
        self._last_id = 0
        self._patience = START_SECONDS
        self.calls = 0

    @abstractmethod
    def one_by_one(self, count: int) -> list[int]:
        """Nanoseconds of each of so many calls, one after the other."""

    @abstractmethod
    def in_flight(self, count: int) -> float:
        """Calls a second over so many calls, 32 of them under way at any time."""

    @abstractmethod
    def ask(self, id_: int, message: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its response; other messages before it are passed over."""

    @abstractmethod
    def say(self, message: dict[str, Any]) -> None:
        """Send what needs no answer."""

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """The result of one request."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        return _result(self.ask(self._last_id, message))

    def greet(self) -> None:
        """Say hello as every client does."""
        about = {"name": "bench", "version": "1"}
        self.request("initialize", {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": about})
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        self._patience = SECONDS

    def served(self) -> int:
        """How many calls the server counted."""
        # A policy may have a rule for every tool: it reads the same argument, and lets this call through.
        text = _text(self.request("tools/call", {"name": "count", "arguments": {"sz": 0}}))
        if not text.isdecimal():
            raise Failed(f"the server's count came as {text[:100]!r}")
        return int(text)

    def questions(self, count: int) -> tuple[range, list[bytes]]:
        """Ids and lines of the next so many calls."""
        ids = range(self._last_id + 1, self._last_id + 1 + count)
        self._last_id += count
        self.calls += count
        return ids, [_LINE % (id_, id_ if self.always_new else 1, self._more) for id_ in ids]


class PipeClient(Client):
    """Speaks MCP over the pipes `writing` and `reading`."""

    def __init__(
        self, writing: int, reading: int, always_new: bool, payload: int = 0, more: str = "", refusal: str = ""
    ) -> None:  # fmt: skip
        super().__init__(always_new, payload, more, refusal)
        self._writing = writing
        self._reading = reading
        self._poll = select.poll()
        self._poll.register(reading, select.POLLIN)
        self._buffer = b""

    def ask(self, id_: int, message: dict[str, Any]) -> dict[str, Any]:
        self.say(message)
        while True:
            while b"\n" not in self._buffer:
                self._buffer += self._read()
            line, _, self._buffer = self._buffer.partition(b"\n")
            if is_answer(response := read_message(line), id_):
                return response

    def say(self, message: dict[str, Any]) -> None:
        try:
            os.write(self._writing, as_line(message))
        except OSError as error:
            raise Failed(f"nothing can be written to it: {error.strerror}") from None

    def one_by_one(self, count: int) -> list[int]:
        ids, lines = self.questions(count)
        took, replies = [0] * count, [b""] * count
        write, read, writing = os.write, self._read, self._writing
        try:
            for at, line in enumerate(lines):
                begun = perf_counter_ns()
                write(writing, line)
                reply = read()
                while reply[-1:] != b"\n":
                    reply += read()
                took[at] = perf_counter_ns() - begun
                replies[at] = reply
        except OSError as error:
            raise Failed(f"nothing can be written to it: {error.strerror}") from None
        for id_, reply in zip(ids, replies, strict=True):
            check([id_], reply, self.refusal)
        return took

    def in_flight(self, count: int) -> float:
        ids, lines = self.questions(count)
        replies: list[bytes] = []
        write, read, writing = os.write, self._read, self._writing
        try:
            begun = perf_counter_ns()
            # A write may wait for a reader of long lines, and a reader never for us: the replies fit into a pipe.
            write(writing, b"".join(lines[:IN_FLIGHT]))
            sent, answered = min(IN_FLIGHT, count), 0
            while answered < count:
                data = read()
                replies.append(data)
                ended = data.count(b"\n")
                answered += ended
                if ended and sent < count:
                    write(writing, b"".join(lines[sent : sent + ended]))
                    sent += ended
            nanoseconds = perf_counter_ns() - begun
        except OSError as error:
            raise Failed(f"nothing can be written to it: {error.strerror}") from None
        check(ids, b"".join(replies), self.refusal)
        return count * 1e9 / nanoseconds

    def _read(self) -> bytes:
        if not self._poll.poll(self._patience * 1000):
            raise Failed(f"no reply within {self._patience:g} s")
        data = os.read(self._reading, 1 << 16)
        if not data:
            raise Failed("it ended before it replied")
        return data


def as_line(message: dict[str, Any]) -> bytes:
    """A message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def is_answer(message: dict[str, Any], id_: int) -> bool:
    """True for the response to a request."""
    return message.get("id") == id_ and "method" not in message


def check(ids: Sequence[int], data: bytes, refusal: str = "") -> None:
    """Every id has exactly one reply in `data`, a real result or the `refusal`, and nothing else is there."""
    lines = data.splitlines()
    expected = {} if refusal else {_REPLY % id_: id_ for id_ in ids}
    # Most replies are byte for byte what the server wrote; a proxy may write them in its own way.
    seen = [expected[line] if line in expected else _answered_id(line, refusal) for line in lines]
    if sorted(seen) != list(ids):
        raise Failed(f"{len(ids)} calls got {len(seen)} replies, or replies to other calls")


def _answered_id(line: bytes, refusal: str) -> int:
    message = read_message(line)
    result = _refusal(message) if refusal else _result(message)
    if (text := _text(result)) != (refusal or "ok"):
        raise Failed(f"a reply says {text[:100]!r} in place of {refusal or 'what the server says'!r}")
    return message["id"] if type(message.get("id")) is int else -1


def read_message(line: bytes) -> dict[str, Any]:
    """One message. Raises `Failed` for anything else."""
    try:
        message = json.loads(line)
    except ValueError:
        message = None
    if type(message) is not dict:
        raise Failed(f"it wrote what is no message: {line[:100]!r}")
    return message


def _result(message: dict[str, Any]) -> Any:
    """The result in a response. Raises `Failed` for an error, a refusal, and what is no response."""
    result = message.get("result")
    if type(result) is not dict or result.get("isError"):
        raise Failed(f"a reply is no result: {json.dumps(message)[:200]}")
    return result


def _refusal(message: dict[str, Any]) -> Any:
    """The result in a response that refuses a call. Raises `Failed` for every other message."""
    result = message.get("result")
    if type(result) is not dict or result.get("isError") is not True:
        raise Failed(f"a reply is no refusal: {json.dumps(message)[:200]}")
    return result


def _text(result: Any) -> str:
    try:
        return str(result["content"][0]["text"])
    except (KeyError, IndexError, TypeError):
        raise Failed("a result has no text") from None
