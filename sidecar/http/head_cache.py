"""The last head that came on a connection, and what it says: most peers say the same again and again."""

from __future__ import annotations

import re
from typing import Final, Generic, TypeVar

LONGEST: Final = 8 << 10
"""Bytes of a head that is remembered: there may be many connections."""

Read = TypeVar("Read")


class HeadCache(Generic[Read]):
    """Knows a head again by its bytes: all but the digits of its Content-Length have to be the very same."""

    __slots__ = ("_after", "_before", "_last", "_said")

    def __init__(self) -> None:
        self._last = b""
        self._said: tuple[Read, int] | None = None
        self._before = self._after = b""

    def keep(self, head: bytes, read: Read) -> None:
        """Keep what a head says: one that was read, found good, and frames its body with one Content-Length."""
        found = _LENGTH.search(head)
        assert found is not None  # it has one
        if len(head) <= LONGEST:
            self._last, self._said = head, (read, int(found[1]))
            self._before, self._after = head[: found.start(1)], head[found.end(1) :]

    def recall(self, head: bytes) -> tuple[Read, int] | None:
        """What a head says, and its Content-Length, where it is the one that is remembered."""
        said = self._said
        if said is None or head == self._last:
            return said
        if not head.startswith(self._before) or not head.endswith(self._after):
            return None
        digits = head[len(self._before) : -len(self._after)]
        if not digits.isdigit() or len(digits) > _DIGITS:
            return None
        self._last, self._said = head, (said[0], int(digits))
        return self._said


_DIGITS: Final = 15
"""As many as a Content-Length may have where it is read."""
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n", re.IGNORECASE)
