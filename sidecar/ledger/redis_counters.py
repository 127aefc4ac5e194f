"""Claims on counters as keys and arguments of the scripts in Redis, and their answers as values. No I/O, no clock."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from sidecar.errors import StoreUnavailable
from sidecar.ledger import sliding
from sidecar.ledger.keys import key
from sidecar.ledger.protocol import Claim, Exhausted, Moved
from sidecar.ledger.scripts import MOVED
from sidecar.ledger.values import Amount, Counter, Entry, Reservation, Seen

KEPT: Final = 2
"""Windows that a total is kept after the end of its own, so that a late refund still finds it."""
KEPT_SHORT: Final = 168
KEPT_SECONDS: Final = 7 * 86400
"""Short windows are kept for this many of them, up to a week: if Redis' clock is ahead for a moment, keys expire."""

PLACES: Final = 63
"""Totals are whole numbers of 10^-63: the last digit of an amount of 34 digits that begins at 10^-30."""

UNITS: Final[int] = 10**PLACES
MAX_DIGITS: Final = 1000
"""More digits than any sum of amounts has; a longer total was not written by us."""

_EXACT: Final = Context(prec=1000, Emin=-9999, Emax=9999)


class Taking(msgspec.Struct, frozen=True):
    """What one call takes at `now`, if the counters that it was judged by stand where they were `seen`."""

    prefix: str
    entries: tuple[Entry, ...]
    seen: tuple[Seen, ...]
    now: float

    @property
    def keys(self) -> list[str]:
        """The keys of the script."""
        keys = [_key_of(self.prefix, entry) for entry in self.entries]
        if self.seen:
            keys += [*(key_now(self.prefix, one.counter, self.now) for one in self.seen), never(self.prefix)]
        return keys

    @property
    def arguments(self) -> list[str | int]:
        """The arguments of the script."""
        taken = [text for entry in self.entries for text in _taken(entry, self.now)]
        stood = [text for one in self.seen for text in (_units(one.total), first_counted(one.counter, self.now))]
        return [len(self.entries), *taken, *stood]

    def nothing(self) -> Taking:
        """A claim that takes nothing, and finds out whether the counters have moved."""
        return replace(self, entries=())

    def claimed(self, answer: Any) -> Claim | Exhausted | Moved:
        """What the script's answer means. Raises `StoreUnavailable` for a total that is no number."""
        if answer == MOVED:
            return Moved()
        match answer:
            case [int(position), bytes(falls)]:
                return Exhausted(position, _seconds(self.entries[position], falls, self.now))
        return Claim(self.entries, tuple(map(read_amount, answer)))


def taking(prefix: str, reservations: tuple[Reservation, ...], seen: tuple[Seen, ...], now: float) -> Taking:
    """What a call takes."""
    entries = tuple(Entry(wanted, sliding.start_of(wanted, now)) for wanted in reservations)
    return Taking(prefix, entries, seen, now)


def giving_back(prefix: str, entries: tuple[Entry, ...]) -> tuple[list[str], list[str]]:
    """Keys and arguments of the script that undoes entries."""
    arguments = [text for entry in entries for text in (_units(entry.reservation.amount), _slice(entry))]
    return [_key_of(prefix, entry) for entry in entries], arguments


def never(prefix: str) -> str:
    """A key that never exists: to remove it changes nothing, and a server that is not to be written to refuses it."""
    return f"{prefix}|none"


def key_now(prefix: str, one: Counter, now: float) -> str:
    """The key of a counter as it is now."""
    start = None if one.sliding else sliding.start_of(one, now)
    return key(prefix, one.counter, one.holder, one.window, start)


def first_counted(one: Reservation | Counter, now: float) -> str:
    """The first slice that counts; empty where the window does not slide."""
    return str(sliding.first_counted(sliding.start_of(one, now))) if one.sliding else ""


def read_amount(units: Any) -> Amount:
    """The amount that the store holds, 0 for none. Raises `StoreUnavailable` if it is no number."""
    if units is None:
        return 0
    if not isinstance(units, bytes) or not units.isdigit() or len(units) > MAX_DIGITS:
        raise StoreUnavailable("the store of counters holds a total that is no number")
    whole, rest = divmod(int(units), UNITS)
    return Decimal(int(units)).scaleb(-PLACES, _EXACT).normalize(_EXACT) if rest else whole


def _key_of(prefix: str, entry: Entry) -> str:
    taken = entry.reservation
    start = None if taken.sliding else entry.start
    return key(prefix, taken.counter, taken.holder, taken.window, start)


def _taken(entry: Entry, now: float) -> tuple[str, str, int, str, str]:
    wanted = entry.reservation
    left = wanted.window + wanted.window / sliding.SLICES if wanted.sliding else entry.start + wanted.window - now
    kept = max(KEPT * wanted.window, min(KEPT_SHORT * wanted.window, KEPT_SECONDS))
    return _units(wanted.amount), _most(wanted), math.ceil(left + kept), first_counted(wanted, now), _slice(entry)


def _slice(entry: Entry) -> str:
    """The slice that an entry is in; empty where the window does not slide."""
    return str(entry.start) if entry.reservation.sliding else ""


def _seconds(entry: Entry, falls: bytes, now: float) -> int:
    """Seconds until a reservation fits; `falls` is the slice that has to fall out for it, empty for none."""
    wanted = entry.reservation
    if not wanted.sliding:
        return max(1, math.ceil(entry.start + wanted.window - now))
    return sliding.seconds_until_fallen(int(falls), wanted.window, now) if falls else wanted.window


def _units(amount: Amount) -> str:
    """An amount in whole units. No decision holds a finer one; it would be rounded up."""
    return str(_whole(amount, ROUND_CEILING))


def _most(wanted: Reservation) -> str:
    """The most units that the total may be; empty without a limit, `-` for a limit below 0."""
    if wanted.limit is None:
        return ""
    most = _whole(wanted.limit, ROUND_CEILING) - 1 if wanted.exclusive else _whole(wanted.limit, ROUND_FLOOR)
    return str(most) if most >= 0 else "-"


def _whole(number: Amount, rounding: str) -> int:
    if isinstance(number, int):
        return number * UNITS
    return int(number.scaleb(PLACES, _EXACT).to_integral_value(rounding, _EXACT))
