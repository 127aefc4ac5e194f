"""A body that is collected piece by piece, up to a limit."""

from __future__ import annotations

from sidecar.framing import ENDS_KEPT, TooLong


class Body:
    """Holds no more than `limit` bytes; of a longer body only its two ends."""

    __slots__ = ("_head", "_limit", "_pieces", "_tail", "held", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []
        self._head = self._tail = b""
        self.size = 0
        self.held = 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self.size += len(piece)
        if self.size <= self._limit:
            self._pieces.append(piece)
            self.held = self.size
            return
        if self._pieces or not self._head:
            whole = b"".join(self._pieces)
            self._head = (whole[:ENDS_KEPT] + piece[:ENDS_KEPT])[:ENDS_KEPT]
            self._tail = whole[-ENDS_KEPT:]
            self._pieces.clear()
        self._tail = (self._tail + piece[-ENDS_KEPT:])[-ENDS_KEPT:]
        self.held = len(self._head) + len(self._tail)

    def whole(self) -> bytes | TooLong:
        """What was collected."""
        if self.size > self._limit:
            return TooLong(self._head, self._tail, self._limit)
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
