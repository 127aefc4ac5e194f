"""Lines out of a stream of bytes, with a bound on each, and lines into one: how messages stand on stdio.

Only LF ends a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

ENDS_KEPT: Final = 1024
"""Bytes of the beginning and of the end of a line that is too long: enough to find the id in."""
PORTION: Final = 16
"""So many messages wait for no more to be passed on with: while the other end has these, the next are made."""


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line that was longer than `limit` bytes and was thrown away but for its two ends.

    `no_room` where it was thrown away because others hold so much.
    """

    head: bytes
    tail: bytes
    limit: int
    no_room: bool = False

    def __len__(self) -> int:
        """Bytes that are left of it."""
        return len(self.head) + len(self.tail)


class LineReader:
    """Cuts what is fed to it into lines, without their ends; blank lines are left out.

    No more than `limit` bytes are held: the rest of a longer line is read and dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._size = 0
        self._is_given_up = False

    @property
    def held(self) -> int:
        """Bytes that are held of a line that has not ended."""
        return len(self._line)

    def give_up(self) -> int:
        """Throw away the line that has not ended, with what still comes of it, but for its ends: these are held."""
        if self._size:
            self._is_given_up = True
            self._add(b"")
        return self.held

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """The lines that `data` completes."""
        if b"\n" not in data:
            self._add(data)
            return []
        *ends, begun = data.split(b"\n")
        whole: Iterable[bytes | TooLong] = ends
        if self._size or len(data) > self._limit:
            whole = [self._joined(end) if self._size or len(end) > self._limit else end for end in ends]
        if begun:
            self._add(begun)
        return [line for end in whole if (line := _shorn(end))]

    def finish(self) -> list[bytes | TooLong]:
        """Nothing more comes: what was begun is a line too."""
        line = _shorn(self._joined(b"")) if self._size else b""
        return [line] if line else []

    def _add(self, part: bytes) -> None:
        self._line += part
        self._size += len(part)
        if self._size > self._limit or self._is_given_up:
            # Only the head, and a tail that is cut again and again.
            del self._line[ENDS_KEPT : max(ENDS_KEPT, len(self._line) - ENDS_KEPT)]

    def _joined(self, end: bytes) -> bytes | TooLong:
        """The line that began before and ends with this."""
        self._add(end)
        line, is_whole, is_given_up = bytes(self._line), self._size <= self._limit, self._is_given_up
        self._line, self._size, self._is_given_up = bytearray(), 0, False
        return line if is_whole and not is_given_up else self._shortened(line, no_room=is_whole)

    def _shortened(self, line: bytes, *, no_room: bool) -> TooLong:
        return TooLong(line[:ENDS_KEPT], line[-ENDS_KEPT:], self._limit, no_room)


def _shorn(line: bytes | TooLong) -> bytes | TooLong:
    """A line without the carriage return before its end; empty for a blank one."""
    if isinstance(line, TooLong):
        return line
    return b"" if line.isspace() else line.removesuffix(b"\r")


class LineWriter:
    """Writes lines, those that come in one pass of the event loop in portions: each write is a system call."""

    def __init__(self, later: Callable[[Callable[[], None]], object], write: Callable[[bytes], None]) -> None:
        self._later = later
        self._write = write
        self._waiting: list[bytes] = []

    def send(self, line: bytes) -> None:
        """Write a line before the loop waits again."""
        if not self._waiting:
            self._later(self.flush)
        self._waiting.append(line)
        if len(self._waiting) >= PORTION:
            self.flush()

    def flush(self) -> None:
        """Write what waits, now."""
        if self._waiting:
            data = b"\n".join((*self._waiting, b""))
            self._waiting.clear()
            self._write(data)
