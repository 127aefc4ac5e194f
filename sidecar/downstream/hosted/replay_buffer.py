"""What one answer of ours carries, in order: kept until it is written, and longer for a client that comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.system.memory import DEFAULT_BUDGET, MemoryBudget, Share

KEPT: Final = 1 << 20
"""Bytes that are kept of what nobody has taken yet, or may ask for again."""
HIGH_WATER: Final = 256 << 10
"""Bytes that may wait to be written before nothing more is taken from the server."""


class Unread:
    """Streams that nobody reads just now, whoever was left the longest ago first: others may need their room."""

    def __init__(self, room: MemoryBudget) -> None:
        self.room = room
        self.streams: dict[Stream, None] = {}
        room.spare.append(self._relieve)

    def _relieve(self) -> bool:
        """Let go of what the first of them keeps: a client that comes back for it finds that it is lost."""
        found = next(iter(self.streams), None)
        if found is None:
            return False
        found.forget()
        return True


class Stream:
    """Messages by their position, the first at 1. `full` hears when too much waits, and when that is over.

    The last of the answers that are expected ends it. `reading` while somebody writes it down; while nobody does, it
    is one of `unread`.
    """

    def __init__(
        self, name: str, full: Callable[[bool], None] = lambda now: None, unread: Unread | None = None
    ) -> None:  # fmt: skip
        self._unread_streams = unread or Unread(MemoryBudget(DEFAULT_BUDGET))
        self._share = Share(self._unread_streams.room)
        self.name = name
        self.ended = False
        self.reading = False
        self._is_dropped = False
        self._missing = 0
        self._full = full
        self._is_full = False
        self._messages: deque[bytes] = deque()
        self._first = 1
        self._size = 0
        self._unread = 0
        self._read = 0
        self._news: asyncio.Future[None] | None = None

    @property
    def taken(self) -> int:
        """The position of the last message that anybody took."""
        return self._read

    @property
    def waiting(self) -> int:
        """Bytes that nobody took yet."""
        return self._unread

    @property
    def count(self) -> int:
        """How many messages were put."""
        return self._first + len(self._messages) - 1

    def put(self, message: bytes) -> None:
        """Add a message; without a reader the oldest are lost where too much is kept."""
        self._messages.append(message)
        self._size += len(message)
        self._unread += len(message)
        while self._size > KEPT and (self._first <= self._read or not self.reading) and len(self._messages) > 1:
            self._forget()
        self._count()
        self._unread_streams.room.make(0)
        if self.reading and self._unread > HIGH_WATER and not self._is_full:
            self._is_full = True
            self._full(True)
        self._wake()

    def expect(self, count: int) -> None:
        """So many answers are all; some of them may have come already."""
        self._missing += count
        if self._missing <= 0:
            self.end()

    def answer(self, message: bytes) -> None:
        """Add one of the answers that are expected."""
        if self.ended:
            return
        self.put(message)
        self._missing -= 1
        if self._missing == 0:
            self.end()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._wake()

    async def next(self, after: int) -> tuple[int, bytes] | None:
        """The first message behind a position, waited for, with its own; None when the stream ended there."""
        # What stands before the first that is kept is lost.
        while (after := max(after, self._first - 1)) >= self.count:
            if self.ended:
                return None
            self._news = asyncio.get_running_loop().create_future()
            await self._news
        position = after + 1
        message = self._messages[position - self._first]
        if position > self._read:
            self._read = position
            self._unread = max(0, self._unread - len(message))
            if self._is_full and self._unread <= HIGH_WATER // 2:
                self._is_full = False
                self._full(False)
        return position, message

    def read(self) -> None:
        """Somebody writes it down now."""
        self.reading = True
        self._count()

    def left(self) -> None:
        """Whoever read this went away: nobody is held up for it any more."""
        self.reading = False
        self._count()
        if self._is_full:
            self._is_full = False
            self._full(False)

    def drop(self) -> None:
        """Nobody will come back for it: it is kept while somebody writes it down, and no longer."""
        self._is_dropped = True
        self._count()

    def forget(self) -> None:
        """Keep nothing of what was put."""
        while self._messages:
            self._forget()
        self._count()

    def _count(self) -> None:
        while self._messages and self._is_dropped and not self.reading:
            self._forget()
        self._share.hold(self._size)
        if self._size and not self.reading:
            self._unread_streams.streams.setdefault(self)
        else:
            self._unread_streams.streams.pop(self, None)

    def _forget(self) -> None:
        oldest = self._messages.popleft()
        self._size -= len(oldest)
        if self._first > self._read:
            self._unread = max(0, self._unread - len(oldest))
        self._first += 1

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)
