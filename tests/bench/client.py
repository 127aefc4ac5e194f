"""The client's side of two pipes: calls one at a time and 32 in flight, timed, every reply checked."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Any, Final

from tests.bench.errors import Failed

IN_FLIGHT: Final = 32
SECONDS: Final = 20.0
"""Longest wait for one reply."""

_LINE = (
    b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"echo","arguments":{"sz":%d,"path":"a.md"}}}\n'
)
_REPLY = b'{"jsonrpc":"2.0","id":%d,"result":{"content":[{"type":"text","text":"ok"}]}}'


class Client:
    """Speaks MCP over the pipes `writing` and `reading`. Raises `Failed` where the other end does not do its part."""

    def __init__(self, writing: int, reading: int, always_new: bool) -> None:
        self._writing = writing
        self._reading = reading
        self._always_new = always_new
        self._poll = select.poll()
        self._poll.register(reading, select.POLLIN)
        self._last_id = 0
        self._buffer = b""
        self.calls = 0

    def request(self, method: str, params: dict[str, Any]) -> Any:
        """The result of one request; other messages before it are passed over."""
        self._last_id += 1
        self._say({"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params})
        while True:
            while b"\n" not in self._buffer:
                self._buffer += self._read()
            line, _, self._buffer = self._buffer.partition(b"\n")
            message = _message(line)
            if message.get("id") == self._last_id and "method" not in message:
                return _result(message)

    def greet(self) -> None:
        """Say hello as every client does."""
        about = {"name": "bench", "version": "1"}
        self.request("initialize", {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": about})
        self._say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def served(self) -> int:
        """How many calls the server counted."""
        text = _text(self.request("tools/call", {"name": "count", "arguments": {}}))
        if not text.isdecimal():
            raise Failed(f"the server's count came as {text[:100]!r}")
        return int(text)

    def one_by_one(self, count: int) -> list[int]:
        """Nanoseconds of each of so many calls, one after the other."""
        ids, lines = self._questions(count)
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
            _check([id_], reply)
        return took

    def in_flight(self, count: int) -> float:
        """Calls a second over so many calls, 32 of them under way at any time."""
        ids, lines = self._questions(count)
        replies: list[bytes] = []
        write, read, writing = os.write, self._read, self._writing
        try:
            begun = perf_counter_ns()
            # What is under way fits into a pipe several times over, so a write never waits.
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
        _check(ids, b"".join(replies))
        return count * 1e9 / nanoseconds

    def _questions(self, count: int) -> tuple[range, list[bytes]]:
        ids = range(self._last_id + 1, self._last_id + 1 + count)
        self._last_id += count
        self.calls += count
        return ids, [_LINE % (id_, id_ if self._always_new else 1) for id_ in ids]

    def _say(self, message: dict[str, Any]) -> None:
        try:
            os.write(self._writing, json.dumps(message, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            raise Failed(f"nothing can be written to it: {error.strerror}") from None

    def _read(self) -> bytes:
        if not self._poll.poll(SECONDS * 1000):
            raise Failed(f"no reply within {SECONDS:g} s")
        data = os.read(self._reading, 1 << 16)
        if not data:
            raise Failed("it ended before it replied")
        return data


def _check(ids: Sequence[int], data: bytes) -> None:
    """Every id has exactly one reply in `data`, a real result, and nothing else is there."""
    lines = data.splitlines()
    expected = {_REPLY % id_: id_ for id_ in ids}
    # Most replies are byte for byte what the server wrote; a proxy may write them in its own way.
    seen = [expected[line] if line in expected else _answered_id(line) for line in lines]
    if sorted(seen) != list(ids):
        raise Failed(f"{len(ids)} calls got {len(seen)} replies, or replies to other calls")


def _answered_id(line: bytes) -> int:
    message = _message(line)
    if (text := _text(_result(message))) != "ok":
        raise Failed(f"a reply says {text[:100]!r} in place of what the server says")
    return message["id"] if type(message.get("id")) is int else -1


def _message(line: bytes) -> dict[str, Any]:
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


def _text(result: Any) -> str:
    try:
        return str(result["content"][0]["text"])
    except (KeyError, IndexError, TypeError):
        raise Failed("a result has no text") from None
