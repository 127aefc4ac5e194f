"""Transactions on approvals in Redis: read, decide here, and write if nothing was written meanwhile.

A transaction of this process waits for the one before it; one that another process was quicker than begins anew. All
of that is bounded by the patience of the connection. A transaction whose answer is lost is not repeated.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, TypeVar

import msgspec

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approval_scripts import CHANGED, COMMIT, READ
from sidecar.ledger.redis_connection import Connection
from sidecar.ledger.redis_counters import Taking, giving_back, never
from sidecar.ledger.redis_records import Question, RedisRecords, Snapshot, Unread, text, time_of
from sidecar.ledger.shared_time import SharedTime
from sidecar.ledger.stored import value_of
from sidecar.ledger.values import Entry

_Result = TypeVar("_Result")


class Counting(NamedTuple):
    """What happens to counters in the same step."""

    which: Literal["", "take", "give_back"]
    keys: Sequence[str] = ()
    arguments: Sequence[str | int] = ()


NO_COUNTING: Final = Counting("")


def counting_of(taking: Taking) -> Counting:
    """What a call takes."""
    return Counting("take", taking.keys, taking.arguments)


def counting_back(prefix: str, entries: tuple[Entry, ...]) -> Counting:
    """What a call gives back."""
    return Counting("give_back", *giving_back(prefix, entries)) if entries else NO_COUNTING


class Done(msgspec.Struct, Generic[_Result], frozen=True):
    """What a transaction came to; the answer of what it did to counters; and the version that it wrote.

    Where it had nothing to write, `answer` is None.
    """

    result: _Result
    answer: Any
    version: str


class Transactions:
    """Transactions under keys with `prefix`; `clock` gives Unix seconds, `monotonic` those that nobody sets."""

    def __init__(
        self, connection: Connection, prefix: str, clock: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.base = f"{prefix}|approvals"
        self._time = SharedTime(clock, monotonic)
        self._connection = connection
        self._never = never(prefix)
        self._read_script = connection.script(READ)
        self._commit_script = connection.script(COMMIT)
        self._turn = asyncio.Lock()

    @property
    def keys(self) -> list[str]:
        """The keys of each script that is told the time."""
        return [self.base, self._never]

    def now(self) -> str:
        """What such a script is told."""
        return repr(self._time.now(-math.inf))

    def time(self, told: Any) -> float:
        """Unix seconds, as such a script tells them: the store has seen this time."""
        mark = time_of(told)
        self._time.now(mark)
        return mark

    async def run(
        self, work: Callable[[RedisRecords], tuple[_Result, Counting]], questions: Sequence[Question] = (), *,
        lost: Callable[[_Result, str], None] | None = None, always: bool = False,
    ) -> Done[_Result]:  # fmt: skip
        """Do `work`, for which `questions` are read at once. Raises `StoreUnavailable`.

        `lost` hears of a result, and the version that it would have written, where no answer says whether it was
        written. With `always` a version is written even where nothing else is: nothing that was read before it can be
        written after it.
        """

        waits = False

        async def transaction() -> Done[_Result]:
            nonlocal waits
            waits = True
            async with self._turn:
                waits = False
                while True:
                    done = await self._attempt(work, questions, lost, always)
                    if done is not None:
                        return done

        try:
            return await self._connection.ask(transaction)
        except StoreUnavailable:
            if not waits:
                raise
        where = self._connection.where
        raise StoreUnavailable(f"the store of counters at {where} cannot be used: other calls held it up")

    async def _attempt(
        self, work: Callable[[RedisRecords], tuple[_Result, Counting]], questions: Sequence[Question],
        lost: Callable[[_Result, str], None] | None, always: bool,
    ) -> Done[_Result] | None:  # fmt: skip
        """None where somebody else was quicker."""
        version = secrets.token_hex(8)
        snapshot = await self._snapshot(questions)
        while True:
            records = RedisRecords(self.base, snapshot, version)
            try:
                result, counting = work(records)
                break
            except Unread as missing:
                if not await self._read_more(snapshot, missing.question):
                    return None
        if not records.commands and not counting.which and not always:
            return Done(result, None, version)
        answered = False
        try:
            answer = await self._commit(snapshot.version, records, version, counting)
            answered = True
        finally:
            if not answered and lost is not None:
                lost(result, version)
        return None if answer == CHANGED else Done(result, answer, version)

    async def _snapshot(self, questions: Sequence[Question]) -> Snapshot:
        version, seq, now, answers = await self._read(questions)
        snapshot = Snapshot(_version(version), _number(seq), self.time(now))
        snapshot.add(questions, answers)
        return snapshot

    async def _read_more(self, snapshot: Snapshot, question: Question) -> bool:
        """False where what was read before is out of date."""
        version, _, _, answers = await self._read([question])
        snapshot.add([question], answers)
        return _version(version) == snapshot.version

    async def _read(self, questions: Sequence[Question]) -> Any:
        return await self._read_script(self.keys, [self.now(), *(word for question in questions for word in question)])

    async def _commit(self, before: str, records: RedisRecords, after: str, counting: Counting) -> Any:
        commands = [word for command in records.commands for word in (len(command), *command)]
        arguments = [before, after, self._never, counting.which, len(counting.arguments), *counting.arguments]
        return await self._commit_script([self.base, *counting.keys], [*arguments, *commands])


def _number(stored: Any) -> int:
    return 0 if stored is None else value_of(stored, int)


def _version(stored: Any) -> str:
    return "" if stored is None else text(stored)
