"""The values that go into a ledger and come out of it, and the protocol of one. No store, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol, TypeAlias

Amount: TypeAlias = int | Decimal

NAMED_WINDOWS = {"minute": 60, "hour": 3600, "day": 86400}
"""Length in seconds of the windows that have names; all are aligned to UTC."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one limit asks of one call: `total + amount <= limit` in the window, else the call is refused.

    `holder` is whose counter it is: empty for everybody's, else a session. `window` is in seconds.
    """

    counter: str
    holder: str
    window: int
    amount: Amount
    limit: Amount


@dataclass(frozen=True, slots=True)
class Entry:
    """What was taken from one counter, in the window that began at `start` (Unix seconds)."""

    reservation: Reservation
    start: int


@dataclass(frozen=True, slots=True)
class Claim:
    """All that one call took; settling it means keeping it, or giving entries back. `left` is what remains of each."""

    entries: tuple[Entry, ...]
    left: tuple[Amount, ...]


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing was taken: the reservation at `position` did not fit. `seconds` remain until its window ends."""

    position: int
    seconds: int


Claimed: TypeAlias = Claim | Exhausted


class Ledger(Protocol):
    """Counters that several processes may share. Raises `StoreUnavailable` when the store cannot be used."""

    def claim_at_once(self, reservations: tuple[Reservation, ...]) -> Claimed | None:
        """Take all or nothing without waiting; None when that needs waiting, and nothing was taken."""

    async def claim(self, reservations: tuple[Reservation, ...]) -> Claimed:
        """Take all or nothing; the wait for others is bounded."""

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        """Undo entries of a claim, in the windows that they were taken from, at once; False when that needs waiting."""

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        """Undo entries of a claim; the wait for others is bounded."""

    async def close(self) -> None:
        """Let go of the store; what was claimed stays."""


def window_start(now: float, window: int) -> int:
    """The Unix second at which the window that holds `now` began: a multiple of its length."""
    return int(now // window) * window
