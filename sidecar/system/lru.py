"""What was worked out for some bytes, kept while there is room: the least recently used is forgotten first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """A map from bytes to values of about `max_bytes`, where each value takes `overhead` beside its key."""

    def __init__(self, max_bytes: int, overhead: int) -> None:
        self._kept: OrderedDict[bytes, Value] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._overhead = overhead

    def get(self, key: bytes) -> Value | None:
        """What is kept for these very bytes."""
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def keep(self, key: bytes, value: Value) -> None:
        """Keep a value, unless there is one for these bytes."""
        if key in self._kept:
            return
        self._kept[key] = value
        self._bytes += len(key) + self._overhead
        while self._bytes > self._max_bytes:
            forgotten, _ = self._kept.popitem(last=False)
            self._bytes -= len(forgotten) + self._overhead

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self._bytes = 0
