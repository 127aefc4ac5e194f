"""The sessions of a listener: found by their id and their caller, bounded in number, ended when nobody uses them."""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from sidecar.auth.principal import Principal, key_of
from sidecar.errors import SidecarError
from sidecar.http.values import JSON, TurnedAway
from sidecar.mcp import jsonrpc, protocol
from sidecar.mcp.jsonrpc import Id

MAX_SESSIONS: Final = 10_000
IDLE: Final = 1800.0
"""Seconds after which a session that nobody used is ended."""
SPARE: Final = 60.0
"""Seconds of idleness after which a session makes room for a new one when there are too many."""

Item = TypeVar("Item")


@dataclass(slots=True)
class Opened(Generic[Item]):
    """A session that is open; `users` are requests that use it now, `used` is when the last one began or ended.

    Whoever it counts for is its `holder`.
    """

    id: str
    item: Item
    principal: str
    holder: str
    used: float
    users: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """How many sessions there may be, how many of `each` holder, and for how many seconds unused.

    `counted` hears how many there are.
    """

    clock: Callable[[], float]
    counted: Callable[[int], None]
    limit: int = MAX_SESSIONS
    each: int = MAX_SESSIONS
    idle: float = IDLE


def full(id: Id, problem: NoRoom) -> TurnedAway:  # noqa: A002 - the protocol's word
    """The answer to a request that would have opened a session."""
    error = jsonrpc.error(id, protocol.SERVER_GONE, str(problem))
    return TurnedAway(200, (("content-type", JSON),), error.raw, "full", str(problem))


def holder(principal: Principal | None, peer: str) -> str:
    """Who a session counts for: its caller, or the address that it is opened from where nobody knows callers."""
    return key_of(principal) if principal is not None else f"address {peer}"


class NoRoom(SidecarError):
    """So many sessions are open that there is no room for another one."""


class Sessions(Generic[Item]):
    """Open sessions by id, the least recently used first. `ended` hears of each that ends."""

    def __init__(self, table: Table, ended: Callable[[Item], None]) -> None:
        self._clock = table.clock
        self._ended = ended
        self._limit = table.limit
        self._each = table.each
        self._idle = table.idle
        self._counted = table.counted
        self._opened: OrderedDict[str, Opened[Item]] = OrderedDict()
        self._opening = 0
        self._held: Counter[str] = Counter()
        """How many of each holder are open, or have room kept for them."""

    def __iter__(self) -> Iterator[Item]:
        return iter([opened.item for opened in self._opened.values()])

    def make_room(self, holder: str) -> None:
        """See that one more may be opened; for that one that was idle for a while may have to end.

        Nobody ends one of somebody else's by holding too many. Raises `NoRoom`.
        """
        if self._held[holder] >= self._each:
            for opened in [one for one in self._unused(SPARE) if one.holder == holder][:1]:
                self.close(opened.id)
            if self._held[holder] >= self._each:
                raise NoRoom(f"{self._each} sessions are yours already: end one, or try later")
        if self._is_full:
            for opened in self._unused(SPARE)[:1]:
                self.close(opened.id)
            if self._is_full:
                raise NoRoom("too many sessions are open: end one, or try later")

    def reserve(self, holder: str) -> None:
        """Keep room for a session without an id yet, until `release`. Raises `NoRoom`."""
        self.make_room(holder)
        self._opening += 1
        self._held[holder] += 1

    def release(self, holder: str) -> None:
        """Its room is free again, or it is open now."""
        self._opening -= 1
        self._let_go(holder)

    @property
    def _is_full(self) -> bool:
        return len(self._opened) + self._opening >= self._limit

    def open(
        self,
        id: str,  # noqa: A002 - the protocol's word
        item: Item,
        principal: str,
        holder: str,
    ) -> Opened[Item]:
        """Note a session that belongs to the caller `principal`; another one with that id ends."""
        self.close(id)
        opened = self._opened[id] = Opened(id, item, principal, holder, self._clock())
        self._held[holder] += 1
        self._counted(len(self._opened))
        return opened

    def find(self, id: str, principal: str) -> Opened[Item] | None:  # noqa: A002
        """The session with this id, if it is this caller's."""
        opened = self._opened.get(id)
        return opened if opened is not None and opened.principal == principal else None

    def enter(self, opened: Opened[Item]) -> None:
        """Somebody begins to use a session: it is kept open until `leave`."""
        opened.users += 1
        self._touch(opened)

    def leave(self, opened: Opened[Item]) -> None:
        """Somebody does not use it any more."""
        opened.users -= 1
        self._touch(opened)

    @contextmanager
    def used(self, opened: Opened[Item]) -> Iterator[Item]:
        """The session, kept open for as long as this lasts."""
        self.enter(opened)
        try:
            yield opened.item
        finally:
            self.leave(opened)

    def close(self, id: str) -> None:  # noqa: A002
        """End a session, if it is open."""
        opened = self._opened.pop(id, None)
        if opened is not None:
            self._let_go(opened.holder)
            self._counted(len(self._opened))
            self._ended(opened.item)

    def end_idle(self) -> None:
        """End every session that nobody used for long."""
        for opened in self._unused(self._idle):
            self.close(opened.id)

    def end_all(self) -> None:
        """End every session."""
        for id_ in list(self._opened):
            self.close(id_)

    def _let_go(self, holder: str) -> None:
        self._held[holder] -= 1
        if not self._held[holder]:
            del self._held[holder]

    def _unused(self, seconds: float) -> list[Opened[Item]]:
        before = self._clock() - seconds
        old = itertools.takewhile(lambda opened: opened.used <= before, self._opened.values())
        return [opened for opened in old if not opened.users]

    def _touch(self, opened: Opened[Item]) -> None:
        opened.used = self._clock()
        if opened.id in self._opened:
            self._opened.move_to_end(opened.id)
