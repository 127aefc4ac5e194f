"""A body that is collected piece by piece, up to a limit."""

from __future__ import annotations

from sidecar.system.lines import ENDS_KEPT, TooLong


class Body:
    """Holds no more than `limit` bytes; of a longer body only its two ends. `held` is what it holds now."""

    __slots__ = ("_head", "_limit", "_tail", "_whole", "held", "size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Not a list of pieces: small ones would take many times their size.
        self._whole = bytearray()
        self._head = self._tail = b""
        self.size = 0
        self.held = 0

    def add(self, piece: bytes) -> None:
        """The next piece."""
        self.size += len(piece)
        if self.size <= self._limit:
            self._whole += piece
            self.held = self.size
            return
        if self._whole or not self._head:
            self._head = bytes(self._whole[:ENDS_KEPT] + piece[:ENDS_KEPT])[:ENDS_KEPT]
            self._tail = bytes(self._whole[-ENDS_KEPT:])
            self._whole = bytearray()
        self._tail = (self._tail + piece[-ENDS_KEPT:])[-ENDS_KEPT:]
        self.held = len(self._head) + len(self._tail)

    def whole(self) -> bytes | TooLong:
        """What was collected."""
        if self.size > self._limit:
            return TooLong(self._head, self._tail, self._limit)
        return bytes(self._whole)
