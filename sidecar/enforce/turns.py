"""Taking turns: one at a time for each key, in the order in which they came. Knows nothing of what is done in one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class Turns(Generic[Key]):
    """Whose turn it is. A key that nobody has takes no room."""

    def __init__(self) -> None:
        self._waiting: dict[Key, deque[asyncio.Future[None]]] = {}

    def is_taken(self, key: Key) -> bool:
        """True when somebody has the turn."""
        return key in self._waiting

    async def take(self, key: Key) -> None:
        """Wait for the turn. Whoever got it ends it."""
        if key not in self._waiting:
            self._waiting[key] = deque()
            return
        mine = asyncio.get_running_loop().create_future()
        self._waiting[key].append(mine)
        await mine

    def end(self, key: Key) -> None:
        """Pass the turn on."""
        waiting = self._waiting[key]
        while waiting:
            if not (following := waiting.popleft()).done():  # cancelled, at our end
                following.set_result(None)
                return
        del self._waiting[key]
