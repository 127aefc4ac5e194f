"""What calls take from counters before they are forwarded, and what they give back.

At once where the store allows it, else by waiting. What could not be given back only makes a limit tighter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sidecar.auth.caller import Caller
from sidecar.decision.decision import Reserve
from sidecar.errors import StoreUnavailable
from sidecar.events import Emit, StoreFailed
from sidecar.ledger import names
from sidecar.ledger.approvals import Wants
from sidecar.ledger.protocol import Ledger, Taken
from sidecar.ledger.values import Counter, Entry, Reservation, Seen
from sidecar.policy.bundle import Bundle
from sidecar.policy.terms import CounterRead
from sidecar.system import defects
from sidecar.system.tasks import Group

HELD_UP: Final = 0.5
"""Seconds that an answer may wait for what its call gives back."""


class Counters:
    """The counters of one server in a ledger. `work` holds what waits for the store."""

    def __init__(self, server: str, ledger: Ledger, emit: Emit) -> None:
        self.work = Group()
        self._server = server
        self._names = names.of_server(server)
        self._ledger = ledger
        self._emit = emit

    def wanted(
        self, reserve: Sequence[Reserve], tool: str, caller: Caller, bundle: Bundle
    ) -> tuple[Reservation, ...] | None:
        """What a call claims for what its decision reserves; None where nobody can tell whose counters these are."""
        reservations: list[Reservation] = []
        for item in reserve:
            holder = caller.holder(item.scope)
            if holder is None:
                return None
            # A rule that only monitors, or stands in shadow, counts and refuses nothing.
            limit = None if item.counter in bundle.terms.monitored else item.limit
            key = self._key(item, tool)
            reservations.append(
                Reservation(key, holder, item.seconds, item.amount, limit, item.exclusive, item.sliding)
            )
        return tuple(reservations)

    def claim(
        self, wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]],
        asked: Mapping[int, Wants], done: Callable[[int, Taken], None],
    ) -> None:  # fmt: skip
        """Claim for several calls, at once for all, or each waits for the store by itself.

        `seen` says, by its place, what a call was judged by, `asked` which approval it needs. `done` gets the place of
        each and what became of it.
        """
        taken: Sequence[Taken] | None
        try:
            taken = self._ledger.claim_at_once(wanted, seen, asked)
        except StoreUnavailable as error:
            taken = [error] * len(wanted)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was taken for certain
            taken = [_broken(error)] * len(wanted)
        for place, reservations in enumerate(wanted):
            if taken is None:
                self.work.start(self._wait(place, reservations, seen.get(place, ()), asked.get(place), done))
            else:
                done(place, taken[place])

    def read(self, reads: Sequence[CounterRead], tool: str, caller: Caller) -> tuple[Counter, ...] | None:
        """The counters that rules read of a call of a tool; None where nobody can tell whose they are."""
        counters: list[Counter] = []
        for item in reads:
            holder = caller.holder(item.scope)
            if holder is None:
                return None
            counters.append(Counter(self._key(item, tool), holder, item.window, item.sliding))
        return tuple(counters)

    async def look_up(self, counters: tuple[Counter, ...]) -> tuple[Seen, ...]:
        """Where counters stand now. Raises `StoreUnavailable`."""
        return tuple(map(Seen, counters, await self._ledger.totals(counters)))

    def give_back(self, entries: tuple[Entry, ...], done: Callable[[], None] = lambda: None) -> None:
        """Undo what a call took, then call `done`; a store that takes long holds it up for `HELD_UP` at most."""
        try:
            waits = bool(entries) and not self._ledger.give_back_at_once(entries)
        except StoreUnavailable as error:
            waits = False
            self._lost(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits for the answer has to get it
            waits = False
            self._lost(_broken(error))
        if waits:
            self.work.start(self._give_back(entries, done))
        else:
            done()

    async def _wait(
        self, place: int, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...], asked: Wants | None,
        done: Callable[[int, Taken], None],
    ) -> None:  # fmt: skip
        taken: Taken
        try:
            taken = await self._ledger.claim(reservations, seen, asked)
        except StoreUnavailable as error:
            taken = error
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was taken for certain
            taken = _broken(error)
        done(place, taken)

    async def _give_back(self, entries: tuple[Entry, ...], done: Callable[[], None]) -> None:
        undoing = asyncio.ensure_future(self._undo(entries))
        await asyncio.wait([undoing], timeout=HELD_UP)
        done()
        await undoing

    async def _undo(self, entries: tuple[Entry, ...]) -> None:
        try:
            await self._ledger.give_back(entries)
        except StoreUnavailable as error:
            self._lost(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits for the answer has to get it
            self._lost(_broken(error))

    def _lost(self, error: StoreUnavailable) -> None:
        self._emit(StoreFailed(self._server, f"a reservation could not be given back: {error}"))

    def _key(self, item: Reserve | CounterRead, tool: str) -> str:
        return self._names + (names.of_tool(item.counter, tool) if item.each_tool else item.counter)


def _broken(error: Exception) -> StoreUnavailable:
    """A defect of ours with the store: for those whose calls it keeps from being counted it cannot be used."""
    return StoreUnavailable(defects.text(defects.tell("the store of counters is not used", error)))
