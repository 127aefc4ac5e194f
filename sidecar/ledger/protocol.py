"""What every store of counters and approvals can do: the ledger's protocol, and what becomes of a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

import msgspec

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import NOTHING_ASKED, Approvals, QueueFull, Record, Unapproved, Wants
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen


class Claim(msgspec.Struct, frozen=True):
    """All that one call took, to be kept or given back; `totals` are the counters' totals now.

    `approval` is the approval that it uses, where it needs one.
    """

    entries: tuple[Entry, ...]
    totals: tuple[Amount, ...]
    approval: Record | None = None


class Exhausted(msgspec.Struct, frozen=True):
    """Nothing was taken: the reservation at `position` did not fit.

    `seconds` remain until its window ends, or until enough has fallen out of a sliding one.
    """

    position: int
    seconds: int


class Moved(msgspec.Struct, frozen=True):
    """Nothing was taken: the total of a counter that the call was judged by has changed, so it is judged anew."""


MAX_SERIAL: Final = 2**53 - 1
"""The greatest serial of a bundle: every reader of JSON takes it for the same number."""


class Highest(msgspec.Struct, frozen=True):
    """The highest serial of a bundle that was ever admitted for a server, and the revision that it had."""

    serial: int
    revision: str


Claimed: TypeAlias = Claim | Exhausted | Moved | Unapproved | QueueFull
Taken: TypeAlias = Claimed | StoreUnavailable
"""What became of one claim among several."""

NOTHING_SEEN: Final[Mapping[int, tuple[Seen, ...]]] = MappingProxyType({})


class Ledger(Protocol):
    """Counters and approvals that several processes may share. Raises `StoreUnavailable` when it cannot be used."""

    @property
    def approvals(self) -> Approvals:
        """The approvals, for people and for the upkeep."""

    def claim_at_once(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]] = NOTHING_SEEN,
        asked: Mapping[int, Wants] = NOTHING_ASKED,
    ) -> list[Taken] | None:  # fmt: skip
        """Take for each call, in this order, all or nothing, without waiting.

        `seen` has, by a call's position, the totals that it was judged by; what the calls before it take counts too.
        `asked` has the approval that a call needs: it is taken together with the limits, or asked for.
        None means that it needs waiting, and nothing was taken for any of them. If one claim fails, its error is in its
        place.
        """

    async def claim(
        self, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...] = (), asked: Wants | None = None
    ) -> Claimed:  # fmt: skip
        """Take all or nothing, for a call that was judged by the totals `seen`; the wait for others is bounded."""

    async def totals(self, counters: tuple[Counter, ...]) -> tuple[Amount, ...]:
        """The totals of the counters at one moment; 0 for one that nothing was taken from."""

    def give_back_at_once(self, entries: tuple[Entry, ...]) -> bool:
        """Undo entries of a claim in the windows that they were taken from, without waiting; False if it needs that."""

    async def give_back(self, entries: tuple[Entry, ...]) -> None:
        """Undo entries of a claim; the wait for others is bounded."""

    async def admit(self, server: str, bundle: Highest) -> Highest:
        """Note a bundle as admitted for a server if its serial is higher than any before: the highest after that.

        It is one step, whoever shares the store. It is on the disk when this returns, so that no crash takes it back.
        """

    async def close(self) -> None:
        """Close the store; what was claimed stays."""
