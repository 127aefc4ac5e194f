"""Messages that come piece by piece from a server, and their share of the room: where there is none, we read slower.

A message that is no small one takes at once what the longest may take. So whoever has begun can end, and nobody waits
for room while he holds what another waits for. A server may hold out all the same: nobody waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from sidecar.system.memory import SMALL, MemoryBudget, Share

TINY: Final = 4 << 10
"""What takes no more waits for nothing: as the ends of a message that was given up."""
PATIENCE: Final = 5.0
"""Seconds that a message waits for room before others have to go for it, as whoever does not take his answers."""
LONGEST: Final = 15.0
"""Seconds that it waits at all. Then it is given up: what we wait for may wait for us to read."""
SLOWEST: Final = 60.0
"""Seconds that a message may take to come, where another waits for its room."""


class Intake:
    """Counts what has come of one message after another, of up to `limit` bytes each.

    `pause` is called with True when nothing more may be read, and with False when more may; `give_up` when the message
    that is coming is to be thrown away: it tells how many bytes are held after that.
    """

    def __init__(
        self, room: MemoryBudget, limit: int, pause: Callable[[bool], object], give_up: Callable[[], int]
    ) -> None:  # fmt: skip
        self._room = room
        self._limit = limit
        self._pause = pause
        self._give_up = give_up
        self._share = Share(room)
        self._held = 0
        self._is_woken = self._is_urgent = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self.waits = False

    def holds(self, size: int) -> None:
        """So many bytes of a message have come."""
        if self._is_closed:
            return
        self._held = size
        wanted = size if size <= SMALL else max(size, self._limit)
        if size <= TINY or wanted <= self._share.size:
            # As nearly all; what has begun has all that it may need.
            self._take(wanted)
        elif (self._room.make if self._is_urgent else self._room.clear)(wanted, wanted - self._share.size):
            self._take(wanted)
            if size > SMALL:
                self._set_timer(SLOWEST)
        else:
            self._share.hold(size)
            if not self.waits:
                self._wait()

    def close(self) -> None:
        """Nothing more comes, and nothing is held."""
        self.waits, self._is_closed = False, True
        self._room.waiting.pop(self._woken, None)
        self._set_timer(None)
        self._share.hold(0)

    def _take(self, size: int) -> None:
        self._share.hold(size)
        if self._timer is not None and size <= SMALL:
            self._set_timer(None)
        if self.waits:
            self.waits = self._is_urgent = False
            self._room.waiting.pop(self._woken, None)
            self._set_timer(None)
            self._pause(False)

    def _wait(self) -> None:
        self.waits = True
        self._room.waiting[self._woken] = None
        self._set_timer(PATIENCE)
        self._pause(True)

    def _woken(self) -> None:
        """Something was given back. Whoever gave it is at work: it is looked at after that."""
        if not self._is_woken:
            self._is_woken = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._is_woken = False
        if self.waits:
            self.holds(self._held)

    def _too_late(self) -> None:
        if not self.waits and not self._room.waiting:
            self._set_timer(SLOWEST)  # nobody needs what it has
            return
        if self.waits and not self._is_urgent:
            self._is_urgent = True
            self._set_timer(LONGEST - PATIENCE)
            self.holds(self._held)
            return
        self._held = self._give_up()
        self._take(self._held)

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._too_late) if seconds is not None else None
