"""A cache of bounded size: the least recently used entry is evicted first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class LRU(Generic[Value]):
    """A map from bytes to values that takes about `max_bytes`; each value takes `overhead` beside its key."""

    def __init__(self, max_bytes: int, overhead: int) -> None:
        self._values: OrderedDict[bytes, Value] = OrderedDict()
        self._bytes = 0
        self._max_bytes = max_bytes
        self._overhead = overhead

    def get(self, key: bytes) -> Value | None:
        """The value of these very bytes, or None."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def keep(self, key: bytes, value: Value) -> None:
        """Keep a value, unless there is one for these bytes."""
        if key in self._values:
            return
        self._values[key] = value
        self._bytes += len(key) + self._overhead
        while self._bytes > self._max_bytes:
            evicted, _ = self._values.popitem(last=False)
            self._bytes -= len(evicted) + self._overhead

    def clear(self) -> None:
        """Evict everything."""
        self._values.clear()
        self._bytes = 0
