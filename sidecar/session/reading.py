"""Messages that are read: small ones at once, large ones on a thread, each in its turn.

Python hands the interpreter over between two steps of a thread, so a large message holds the event loop for no longer
than the longest single call into C takes. Either way one function reads, `jsonrpc.read`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, TypeAlias, TypeVar

from sidecar.errors import InvalidMessage
from sidecar.mcp import jsonrpc
from sidecar.mcp.jsonrpc import Batch, Message, Request
from sidecar.system import defects, tasks
from sidecar.system.lines import TooLong
from sidecar.system.memory import MemoryBudget
from sidecar.upstream import link

LARGE: Final = link.LARGE
READ_SECONDS: Final = 5.0
"""How long what came before an end may take to be read: large messages, on a machine that is busy."""
_NOTHING: Final = -1
"""No message is so short."""

Line: TypeAlias = bytes | TooLong
Read: TypeAlias = Callable[[], Message | Batch]
"""Gives what a message says, or raises what reading it raised."""
Prepare: TypeAlias = Callable[[Request], Request]
"""Gives a large request back, with what others will want of it worked out."""

Result = TypeVar("Result")
One = TypeVar("One", bound=Message | InvalidMessage)


def _prepare_nothing(request: Request) -> Request:
    """Nobody wants anything."""
    return request


class Reader:
    """Reads the large messages of all sessions, one at a time: whoever has many waits for others after each.

    With more threads than one the event loop would wait for all of them, and each needs memory for what it makes.
    `room` counts the messages that wait.
    """

    def __init__(self, prepare: Prepare = _prepare_nothing, room: MemoryBudget | None = None) -> None:
        self.room = room or MemoryBudget(0)
        self._prepare = prepare
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}
        """Whose turn it is and who waits for one, whoever had none for the longest first."""

    async def run(self, work: Callable[[], Result], whose: Hashable = None) -> Result:
        """What `work` returns or raises, which would hold the event loop for too long."""
        async with self._turn(whose):
            return await tasks.in_thread_if_can_be(work)

    async def read(
        self, line: Line, whose: Hashable = None, is_over: Callable[[], bool] = lambda: False
    ) -> Read | None:  # fmt: skip
        """Read a message, on a thread where it is large; None where it is over for everybody by its turn."""
        if isinstance(line, TooLong) or len(line) <= LARGE:
            return partial(link.read, line)
        async with self._turn(whose):
            return await tasks.in_thread_if_can_be(partial(self._read, line)) if not is_over() else None

    @asynccontextmanager
    async def _turn(self, whose: Hashable) -> AsyncIterator[None]:
        if self._waiting:
            mine = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(whose, deque()).append(mine)
            await mine
        else:
            self._waiting[whose] = deque()
        try:
            yield
        finally:
            self._pass_on(whose)

    def _pass_on(self, whose: Hashable) -> None:
        if more := self._waiting.pop(whose):
            self._waiting[whose] = more  # behind all others
        while self._waiting:
            following, waiting = next(iter(self._waiting.items()))
            turn = waiting.popleft()
            if not turn.done():  # or it was cancelled, at our end
                turn.set_result(None)
                return
            if not waiting:
                del self._waiting[following]

    def _read(self, line: bytes) -> Read:
        try:
            message = jsonrpc.read(line)
            if isinstance(message, Batch):
                batch = Batch(tuple(map(self._prepared, message.elements)))
                return lambda: batch
            prepared = self._prepared(message)
        except Exception as problem:  # noqa: BLE001 - whoever takes the message hears of it
            return partial(_fail, problem)
        return lambda: prepared

    def _prepared(self, message: One) -> One | Request:
        return self._prepare(message) if isinstance(message, Request) else message


class Lane:
    """The messages of one side of a session, each taken in its turn: while a large one is read, others wait behind it.

    A message longer than `at_once` has to be `put` here. `hold` is called with True when nothing more should come, and
    with False when it may again. `whose` tells who takes turns with others.
    """

    def __init__(self, reader: Reader, whose: Callable[[], Hashable] = lambda: None) -> None:
        self.at_once = LARGE
        self.hold: Callable[[bool], None] = lambda now: None
        self._reader = reader
        self._whose = whose
        self._waiting: deque[tuple[Line, Callable[[Read], None], Callable[[], None]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def put(self, line: Line, take: Callable[[Read], None], drop: Callable[[], None]) -> None:
        """Have a message read in its turn; then `take` is called, or `drop` where the session is over before."""
        self._reader.room.taken += len(line)
        self._waiting.append((line, take, drop))
        if self._task is None:
            self.at_once = _NOTHING
            self.hold(True)
            self._task = tasks.start(self._work_off())

    def close(self) -> None:
        """The session is over: what was not read yet never will be."""
        self._is_closed = True

    async def caught_up(self) -> None:
        """Wait until everything that came is read, for `READ_SECONDS` at the most."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=READ_SECONDS)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await self._next(*self._waiting.popleft())
        finally:
            self.at_once, self._task = LARGE, None
            self.hold(False)

    async def _next(self, line: Line, take: Callable[[Read], None], drop: Callable[[], None]) -> None:
        try:
            read = await self._reader.read(line, self._whose(), lambda: self._is_closed)
            if read is None or self._is_closed:
                drop()
            else:
                take(read)
        except Exception as error:  # noqa: BLE001 - it ends this message, and not those behind it
            defects.tell("one message is dropped", error)
        finally:
            self._reader.room.taken -= len(line)


def _fail(problem: Exception) -> Message | Batch:
    raise problem
