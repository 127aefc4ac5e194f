"""What becomes of several claims, one after the other, given where counters stand. No store, no clock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from msgspec.structs import replace

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sliding
from sidecar.ledger.approvals import QueueFull, Unapproved, Wants
from sidecar.ledger.protocol import Claim, Claimed, Exhausted, Moved, Taken
from sidecar.ledger.transitions import Records, Use, take
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen, add, subtract


class Key(NamedTuple):
    """A counter at one time: `start` is that of its window, or the number of the slice where it slides."""

    counter: str
    holder: str
    window: int
    start: int
    sliding: bool


class Stands(Protocol):
    """Where counters stand before the first claim. Both raise `StoreUnavailable` for a counter that is damaged."""

    def total(self, key: Key) -> Amount:
        """The total of a counter."""

    def slices(self, key: Key) -> Mapping[int, Amount]:
        """What stands in the slices of a sliding counter that count."""


class Asks(NamedTuple):
    """The approvals that calls want, by their place, and those that stand."""

    wants: Mapping[int, Wants]
    records: Records

    def take(self, place: int) -> Use | Unapproved | QueueFull | None:
        """What the call at a place can use; None where it wants nothing."""
        return take(self.wants[place], self.records) if place in self.wants else None


Claims: TypeAlias = tuple[list[Taken], dict[Key, Amount]]
"""What became of each claim, and the new totals of the counters that changed."""


def claims(
    wanted: Sequence[tuple[Reservation, ...]], seen: Mapping[int, tuple[Seen, ...]], now: float, stands: Stands,
    asks: Asks | None = None,
) -> Claims:  # fmt: skip
    """What becomes of each claim."""
    # Many reservations may be on one counter: each total is looked up once and stored once.
    totals: dict[Key, Amount] = {}
    changed: dict[Key, Amount] = {}
    claimed: list[Taken] = []
    for place, reservations in enumerate(wanted):
        try:
            if place in seen and not _stand(seen[place], now, totals, stands):
                claimed.append(Moved())
                continue
            use = asks.take(place) if asks is not None else None
            if isinstance(use, Unapproved | QueueFull):
                claimed.append(use)
                continue
            one, after = _claim(reservations, now, totals, stands)
            if asks is not None and use is not None and isinstance(one, Claim):
                one = replace(one, approval=use.put(one.entries, asks.records))
        except StoreUnavailable as error:  # a counter of this call is damaged; the others' are not
            claimed.append(error)
            continue
        totals.update(after)
        changed.update(after)
        claimed.append(one)
    return claimed, changed


def key_of(entry: Entry) -> Key:
    """What an entry was taken from."""
    taken = entry.reservation
    return Key(taken.counter, taken.holder, taken.window, entry.start, taken.sliding)


def key_now(one: Counter, now: float) -> Key:
    """A counter as it is now."""
    return Key(one.counter, one.holder, one.window, sliding.start_of(one, now), one.sliding)


def _stand(seen: tuple[Seen, ...], now: float, totals: dict[Key, Amount], stands: Stands) -> bool:
    """True when each counter still has the total that was seen; `totals` gets what was looked up."""
    for one in seen:
        key = key_now(one.counter, now)
        if key not in totals:
            totals[key] = stands.total(key)
        if totals[key] != one.total:
            return False
    return True


def _claim(
    reservations: tuple[Reservation, ...], now: float, totals: dict[Key, Amount], stands: Stands
) -> tuple[Claimed, dict[Key, Amount]]:
    """What one call takes, all or nothing, and the totals then; `totals` gets what was looked up."""
    entries: list[Entry] = []
    after: dict[Key, Amount] = {}
    left: list[Amount] = []
    for position, wanted in enumerate(reservations):
        entry = Entry(wanted, sliding.start_of(wanted, now))
        key = key_of(entry)
        if key not in totals:
            totals[key] = stands.total(key)
        total = add(after.get(key, totals[key]), wanted.amount)
        if not wanted.admits(total):
            return Exhausted(position, _seconds(entry, total, now, totals[key], stands)), {}
        after[key] = total
        left.append(total)
        entries.append(entry)
    return Claim(tuple(entries), tuple(left)), after


def _seconds(entry: Entry, total: Amount, now: float, before: Amount, stands: Stands) -> int:
    """Seconds until what does not fit, since it would make `total`, does; `before` stands without this call."""
    wanted = entry.reservation
    if not wanted.sliding:
        return max(1, math.ceil(entry.start + wanted.window - now))
    key = key_of(entry)
    slices = dict(stands.slices(key))
    if taken := subtract(before, sliding.total(slices)):  # by the claims before this one, in the slice of now
        slices[entry.start] = add(slices.get(entry.start, 0), taken)
    return sliding.seconds_until_fits(slices, total, wanted, now)
