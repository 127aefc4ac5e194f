"""The client of OPA's unix socket: pooled connections, one question in flight on each, a bound on every wait.

A question has no task and no timer of its own: its answer comes by callback, and one timer finds all late questions.
"""

from __future__ import annotations

import asyncio
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeAlias, cast

from sidecar.engine.wire import BadReply, ReplyReader, request
from sidecar.errors import EngineUnavailable
from sidecar.system import ownership, tasks

CONNECTIONS: Final = 64
"""Questions in flight at once; more wait for a free connection, within the same bound of time."""

_LOOK_AGAIN: Final = 0.001
"""Seconds between the two looks at a late question. With zero the event loop would read nothing in between."""

_HUNG_UP: Final = select.POLLRDHUP
"""The event that the kernel is polled for: OPA closed the connection, or its half. Errors are reported in any case."""

_FOREIGN: Final = "the program at {} runs as another user: what decides must run as we do, or as root"

EngineReply: TypeAlias = bytes | EngineUnavailable
"""The body of OPA's reply, or why there is none."""


@dataclass(frozen=True, slots=True)
class Greeting:
    """The first question on each connection; `check` raises `EngineUnavailable` if the answer is not acceptable."""

    question: bytes
    check: Callable[[bytes], None]


class _Question:
    """A question as it is written. `done` gets the reply, once; anything that comes later is dropped."""

    __slots__ = ("_done", "connection", "data", "deadline", "is_open")

    def __init__(self, data: bytes, deadline: float, done: Callable[[EngineReply], None]) -> None:
        self.data = data
        self.deadline = deadline
        self.connection: _Connection | None = None
        self.is_open = True
        self._done = done

    def end(self, reply: EngineReply) -> None:
        if self.is_open:
            self.is_open = False
            self._done(reply)


class EngineClient:
    """Asks the OPA at a socket. `lost` is called when OPA ends a connection: it may have died.

    `timeout` is in seconds. With a `greeting`, a connection is used only after it answered that acceptably.
    """

    def __init__(
        self, socket: str, timeout: float, lost: Callable[[], None], greeting: Greeting | None = None
    ) -> None:  # fmt: skip
        self._socket = socket
        self._timeout = timeout
        self._lost = lost
        self._greeting = greeting
        self._idle: list[_Connection] = []
        self._every: set[_Connection] = set()
        self._hung_up = select.poll()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Question] = deque()
        # In the order of their deadlines, which is the order in which they came.
        self._questions: deque[_Question] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._looked = 0.0  # when last for whoever waits too long, on the monotonic clock

    def is_whole(self) -> bool:
        """False once OPA closed a connection. The kernel is asked: the event loop may not have read the end yet."""
        return not self._hung_up.poll(0)

    def put(self, body: bytes, decision_id: str, done: Callable[[EngineReply], None]) -> None:
        """Put a question; `done` is called once, with the reply, or with an error when the time-out is over."""
        question = _Question(request(body, decision_id), monotonic() + self._timeout, done)
        while self._questions and not self._questions[0].is_open:
            self._questions.popleft()
        self._questions.append(question)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._timeout, self._give_up_late_ones)
        while self._idle:
            connection = self._idle.pop()
            if connection.is_silent():
                connection.ask(question)
                return
        self._waiting.append(question)
        self._connect_one()

    async def ask(self, body: bytes, decision_id: str) -> bytes:
        """The body of OPA's reply. Raises `EngineUnavailable` if there is none within the time-out."""
        return await _wait(lambda done: self.put(body, decision_id, done))

    def close(self) -> None:
        """Drop every connection; questions in flight get no answer."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._connecting:
            task.cancel()
        while self._waiting:
            self._waiting.popleft().end(_unreachable())
        for connection in list(self._every):
            connection.drop()

    def _connect_one(self) -> None:
        """One more connection, where there is room for it."""
        if len(self._every) + len(self._connecting) < CONNECTIONS:
            task = tasks.start(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self) -> None:
        """Open a connection for whichever question waits longest."""
        loop = asyncio.get_running_loop()
        connection = _Connection(self._free, self._gone)
        try:
            async with asyncio.timeout(self._timeout):
                await loop.create_unix_connection(lambda: connection, self._socket)
                if connection.ended:
                    raise ConnectionResetError
                if not connection.is_ours:
                    raise EngineUnavailable("foreign", _FOREIGN.format(self._socket))
                self._every.add(connection)
                self._hung_up.register(connection.fd, _HUNG_UP)
                if self._greeting is not None:
                    self._greeting.check(await _wait(lambda done: connection.ask(self._greet(done))))
        except TimeoutError:
            connection.drop()  # the question that waits has the same bound
        except OSError:
            self._fail_next(_unreachable())
        except EngineUnavailable as error:
            connection.drop()
            self._fail_next(error)
        else:
            connection.is_ready = True
            self._free(connection)

    def _greet(self, done: Callable[[EngineReply], None]) -> _Question:
        assert self._greeting is not None  # or nobody would greet
        return _Question(request(self._greeting.question, "greeting"), monotonic() + self._timeout, done)

    def _fail_next(self, error: EngineUnavailable) -> None:
        if (question := self._next()) is not None:
            question.end(error)

    def _free(self, connection: _Connection) -> None:
        """A connection can take another question."""
        if self._waiting and not connection.is_silent():
            self._connect_one()
        elif (question := self._next()) is not None:
            connection.ask(question)
        else:
            self._idle.append(connection)

    def _next(self) -> _Question | None:
        """The question that waits longest for a connection."""
        while self._waiting:
            question = self._waiting.popleft()
            if question.is_open:
                return question
        return None

    def _gone(self, connection: _Connection) -> None:
        if connection in self._every:
            self._every.remove(connection)
            self._hung_up.unregister(connection.fd)
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.dropped:
            self._lost()
        if self._waiting:
            self._connect_one()

    def _give_up_late_ones(self) -> None:
        """Give up every question that was late at the last look already, and look again when the next one is late.

        It takes two looks, because the event loop runs timers before it reads: if this process was held up, OPA's
        answers may have arrived long ago, and are read between the two looks.
        """
        before, self._looked = self._looked, monotonic()
        self._timer = None
        while self._questions and (not self._questions[0].is_open or self._questions[0].deadline <= before):
            question = self._questions.popleft()
            if question.is_open:
                if question.connection is not None:
                    question.connection.drop()
                milliseconds = round(self._timeout * 1000)
                question.end(EngineUnavailable("timeout", f"the policy engine did not answer in {milliseconds} ms"))
        if self._questions and self._timer is None:
            left = max(_LOOK_AGAIN, self._questions[0].deadline - self._looked)
            self._timer = asyncio.get_running_loop().call_later(left, self._give_up_late_ones)


async def _wait(put: Callable[[Callable[[EngineReply], None]], None]) -> bytes:
    """Await the reply to a question that `put` puts. Raises `EngineUnavailable`."""
    future: asyncio.Future[EngineReply] = asyncio.get_running_loop().create_future()
    put(lambda reply: None if future.done() else future.set_result(reply))
    reply = await future
    if isinstance(reply, EngineUnavailable):
        raise reply
    return reply


class _Connection(asyncio.Protocol):
    """One connection. A question that is given up drops it, so that a late answer is never taken for the next one.

    It `is_ours` if OPA runs as our user or as root. Once it `is_ready`, each answer frees it for another question.
    """

    def __init__(self, free: Callable[[_Connection], None], gone: Callable[[_Connection], None]) -> None:
        self._free = free
        self._gone = gone
        self._reader = ReplyReader()
        self._question: _Question | None = None
        self._transport: asyncio.Transport | None = None
        self._unread = select.poll()
        self.fd = -1
        self.dropped = self.ended = False
        self.is_ours = self.is_ready = False

    def is_silent(self) -> bool:
        """False if there is something to read although nothing was asked: an answer too many, or the end.

        Such a connection is not used: the event loop will read what it is.
        """
        return not self._unread.poll(0)

    def ask(self, question: _Question) -> None:
        if self._transport is None or self._transport.is_closing():
            question.end(_unreachable())
            return
        self._question, question.connection = question, self
        self._transport.write(question.data)

    def drop(self) -> None:
        self.dropped = True
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are no subclasses
        opened = transport.get_extra_info("socket")
        self.fd, self.is_ours = opened.fileno(), ownership.is_ours(opened)
        self._unread.register(self.fd, select.POLLIN)

    def data_received(self, data: bytes) -> None:
        question = self._question
        if question is None or not question.is_open:
            self.drop()  # OPA does not speak unasked, and nobody waits for a late answer
            return
        try:
            body = self._reader.feed(data)
        except BadReply as error:
            self.drop()
            question.end(EngineUnavailable("reply", f"the policy engine's answer cannot be used: {error}"))
            return
        if body is not None:
            self._question = None
            if self.is_ready:
                self._free(self)
            question.end(body)

    def eof_received(self) -> None:
        self._end()  # connection_lost comes some passes of the event loop later, and calls are judged in between

    def connection_lost(self, error: Exception | None) -> None:
        self._end()
        if self._question is not None:
            self._question.end(_unreachable())

    def _end(self) -> None:
        if not self.ended:
            self.ended = True
            self._gone(self)


def _unreachable() -> EngineUnavailable:
    return EngineUnavailable("connection", "the policy engine cannot be reached")
