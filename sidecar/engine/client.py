"""The client of OPA's unix socket: pooled connections, a bound on every wait, and one request for questions that wait.

A question has no task and no timer of its own: its answer comes by callback, and one timer finds all late questions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Final

from sidecar.engine.connection import Connection, EngineReply, Exchange, unreachable
from sidecar.engine.deadlines import Deadlines
from sidecar.engine.together import MOST, MOST_BYTES, apart, together
from sidecar.engine.wire import BadReply, request, request_for_several
from sidecar.errors import EngineUnavailable
from sidecar.system import defects, tasks

ABREAST: Final = max(2, len(os.sched_getaffinity(0)) // 2)
"""Requests in flight while the questions that come wait for an answer, to travel together: enough to keep OPA busy."""

PATIENCE: Final = 0.005
"""Seconds after which another request goes beside one that has no answer yet, so that a slow one holds up no other."""

QUICK: Final = 0.1
"""The part of the time-out within which OPA answers a request that could have held one more question."""

CONNECTIONS: Final = 4 * ABREAST
"""Requests in flight at once. More would only make each of them slower: OPA has no more processors for them."""

LATE: Final = 0.75
"""The part of its time that a question waits before newer ones go first: it would hardly get its answer in time."""

LEAST: Final = 2
"""Questions that may always travel together: how long one takes alone does not say whether there could be more."""

CANARY: Final = "canary"
"""The decision id of a question that shows whether OPA lives, by which policy: it goes in front of all others."""

_HUNG_UP: Final = select.POLLRDHUP
"""The event that the kernel is polled for: OPA closed the connection, or its half. Errors are reported in any case."""

_FOREIGN: Final = "the program at {} runs as another user: what decides must run as we do, or as root"


@dataclass(frozen=True, slots=True)
class Greeting:
    """A question on each new connection; `check` raises `EngineUnavailable` if the answer is not acceptable."""

    question: bytes
    check: Callable[[bytes], None]


class _Question(Exchange):
    """A question, `since` when it waits, until when, and whether it must travel alone."""

    __slots__ = ("alone", "body", "deadline", "decision_id", "since")

    def __init__(
        self, body: bytes, decision_id: str, timeout: float, done: Callable[[EngineReply], None], *, alone: bool
    ) -> None:  # fmt: skip
        super().__init__(done)
        self.body = body
        self.decision_id = decision_id
        self.since = monotonic()
        self.deadline = self.since + timeout
        self.alone = alone


class _Together(Exchange):
    """Questions that travel in one request. The deadline leaves each enough time to be asked alone."""

    __slots__ = ("deadline", "questions")

    def __init__(self, questions: Sequence[_Question], done: Callable[[EngineReply], None]) -> None:
        super().__init__(done)
        self.questions = questions
        self.deadline = (monotonic() + min(question.deadline for question in questions)) / 2


class EngineClient:
    """Asks the OPA at a socket. `lost` is called when OPA ends a connection: it may have died.

    `timeout` is in seconds. A connection is used only after it answered all `greetings` acceptably. While
    `ABREAST` requests are in flight, questions wait and travel together, `most` in one request, and fewer where OPA is
    slow; one that gets no answer in that way is asked once more, alone. With a `most` of 1 each question travels alone.

    If more is asked than OPA can answer, some questions get no answer. They must cost OPA nothing, else nobody gets one
    in time: they wait here until their time is over, because then the newest go first (`LATE`).
    """

    def __init__(
        self, socket: str, timeout: float, lost: Callable[[], None], greetings: Sequence[Greeting] = (),
        *, most: int = MOST,
    ) -> None:  # fmt: skip
        self._socket = socket
        self._timeout = timeout
        self._lost = lost
        self._greetings = greetings
        self._most = most
        self._idle: list[Connection] = []
        self._busy: dict[Connection, float] = {}  # since when
        self._every: set[Connection] = set()
        self._hung_up = select.poll()
        self._connecting: set[asyncio.Task[None]] = set()
        self._canaries: deque[_Question] = deque()
        self._again: deque[_Question] = deque()
        self._waiting: deque[_Question] = deque()
        self._lanes = (self._canaries, self._again, self._waiting)
        self._size = most
        self._questions: Deadlines[_Question] = Deadlines(self._give_up)
        self._travelling: Deadlines[_Together] = Deadlines(self._part)
        self._patience: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_connected(self) -> bool:
        """True while there is a connection that neither side has ended."""
        return bool(self._every)

    def is_whole(self) -> bool:
        """False once OPA closed a connection. The kernel is asked: the event loop may not have read the end yet."""
        return not self._hung_up.poll(0)

    def put(self, body: bytes, decision_id: str, done: Callable[[EngineReply], None]) -> None:
        """Put a question; `done` is called once, with the reply, or with an error when the time-out is over."""
        alone = self._most == 1 or len(body) > MOST_BYTES or decision_id == CANARY
        question = _Question(body, decision_id, self._timeout, done, alone=alone)
        self._questions.add(question)
        if not self._waiting and len(self._busy) < ABREAST and (connection := self._silent()) is not None:
            self._ask(connection, (question,))
            return
        (self._canaries if decision_id == CANARY else self._waiting).append(question)
        self._send()

    async def ask(self, body: bytes, decision_id: str) -> bytes:
        """The body of OPA's reply. Raises `EngineUnavailable` if there is none within the time-out."""
        return await _wait(lambda done: self.put(body, decision_id, done))

    def close(self) -> None:
        """Drop every connection; questions in flight get no answer."""
        self._closed = True
        self._questions.close()
        self._travelling.close()
        if self._patience is not None:
            self._patience.cancel()
        for task in self._connecting:
            task.cancel()
        for lane in self._lanes:
            while lane:
                lane.popleft().end(unreachable())
        for connection in list(self._every):
            connection.drop()

    # What waits.

    def _send(self) -> None:
        """Send what waits, as far as it need not wait for an answer to what is in flight."""
        while (lane := self._turn()) is not None:
            if (connection := self._silent()) is None:
                self._connect_one()
                break
            self._ask(connection, self._next(lane))
        if (self._again or self._waiting) and self._patience is None and not self._closed:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._lose_patience)

    def _turn(self) -> deque[_Question] | None:
        """Where the questions wait whose turn it is; None if none waits, or all wait for answers to others."""
        for lane in self._lanes:
            while lane and not lane[0].is_open:
                lane.popleft()
        if self._canaries:
            return self._canaries
        lane = self._again if self._again and not self._too_many() else self._waiting or self._again
        return lane if lane and self._has_place(lane[0]) else None

    def _has_place(self, question: _Question) -> bool:
        """True if OPA can work on one more request, beside each that is slow, and the question waited for that."""
        busy = len(self._busy)
        if self._most == 1 or busy < ABREAST:
            return busy < CONNECTIONS
        before = monotonic() - PATIENCE
        if question.since > before:
            return False
        slow = sum(since <= before for since in self._busy.values())
        return busy < min(CONNECTIONS, ABREAST + slow)

    def _too_many(self) -> bool:
        """True if more is asked than OPA answers: the question that waits longest has little of its time left."""
        return bool(self._waiting) and monotonic() - self._waiting[0].since > LATE * self._timeout

    def _lose_patience(self) -> None:
        self._patience = None
        self._send()

    def _next(self, lane: deque[_Question]) -> list[_Question]:
        """Take the questions of one request from those that wait there."""
        at, take = (-1, lane.pop) if lane is self._waiting and self._too_many() else (0, lane.popleft)
        taken: list[_Question] = []
        size = 0
        while lane and len(taken) < self._size:
            question = lane[at]
            size += len(question.body)
            if taken and question.is_open and (question.alone or size > MOST_BYTES):
                break
            take()
            if question.is_open:
                taken.append(question)
                if question.alone:
                    break
        return taken

    def _ask(self, connection: Connection, questions: Sequence[_Question]) -> None:
        self._busy[connection] = monotonic()
        if len(questions) == 1:
            (question,) = questions
            connection.ask(question, request(question.body, question.decision_id))
            return
        travelling = _Together(questions, partial(self._came_back, questions, monotonic()))
        self._travelling.add(travelling)
        body = together([question.body for question in questions])
        connection.ask(travelling, request_for_several(body, [question.decision_id for question in questions]))

    def _came_back(self, questions: Sequence[_Question], since: float, reply: EngineReply) -> None:
        """Hand each question its answer; one that has none is asked alone."""
        if monotonic() - since < QUICK * self._timeout:
            self._size = min(self._most, self._size + 1)
        answers: Sequence[bytes | None] = [None] * len(questions)
        if not isinstance(reply, EngineUnavailable):
            with contextlib.suppress(BadReply):  # nothing in it counts
                answers = apart(reply, len(questions))
        for question, answer in zip(questions, answers, strict=True):
            if answer is None:
                self._ask_again(question)
            else:
                _hand_over(question, answer)

    def _part(self, travelling: _Together) -> None:
        """Questions that travel together have had half of their time: one of them may hold up the others."""
        travelling.is_open = False
        travelling.drop()
        self._size = max(LEAST, self._size // 2)
        for question in travelling.questions:
            self._ask_again(question)

    def _ask_again(self, question: _Question) -> None:
        if self._closed:
            question.end(unreachable())
        elif question.is_open:
            question.alone = True
            self._again.append(question)
            self._send()

    def _give_up(self, question: _Question) -> None:
        question.drop()
        milliseconds = round(self._timeout * 1000)
        question.end(EngineUnavailable("timeout", f"the policy engine did not answer in {milliseconds} ms"))

    # Connections.

    def _silent(self) -> Connection | None:
        """A connection that can take a request."""
        while self._idle:
            connection = self._idle.pop()
            if connection.is_silent():
                return connection
        return None

    def _connect_one(self) -> None:
        """One more connection, where there is room for it and fewer are on their way than requests wait.

        There is one beyond the bound for a canary, so that it need not wait until another question has its answer.
        """
        requests = len(self._canaries) + len(self._again)
        requests += (
            len(self._waiting) if self._waiting and self._waiting[0].alone else -(-len(self._waiting) // self._most)
        )
        room = CONNECTIONS + (1 if self._canaries else 0) - len(self._every)
        if len(self._connecting) < min(requests, room):
            task = tasks.start(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        self._send()

    async def _connect(self) -> None:
        """Open a connection for the questions that wait longest."""
        loop = asyncio.get_running_loop()
        connection = Connection(self._free, self._gone)
        try:
            async with asyncio.timeout(self._timeout):
                await loop.create_unix_connection(lambda: connection, self._socket)
                if connection.ended:
                    raise ConnectionResetError
                if not connection.is_ours:
                    raise EngineUnavailable("foreign", _FOREIGN.format(self._socket))
                self._every.add(connection)
                self._hung_up.register(connection.fd, _HUNG_UP)
                for greeting in self._greetings:
                    greeting.check(await _wait(partial(self._greet, connection, greeting)))
        except TimeoutError:
            connection.drop()  # the question that waits has the same bound
        except OSError:
            self._fail_next(unreachable())
        except EngineUnavailable as error:
            connection.drop()
            self._fail_next(error)
        else:
            connection.is_ready = True
            self._free(connection)

    def _greet(self, connection: Connection, greeting: Greeting, done: Callable[[EngineReply], None]) -> None:
        connection.ask(Exchange(done), request(greeting.question, "greeting"))

    def _fail_next(self, error: EngineUnavailable) -> None:
        """The connection that was made for the questions whose turn is next is none."""
        lane = next((lane for lane in self._lanes if lane), self._waiting)
        for question in self._next(lane):
            question.end(error)

    def _free(self, connection: Connection) -> None:
        """A connection can take another request."""
        self._busy.pop(connection, None)
        self._idle.append(connection)
        self._send()

    def _gone(self, connection: Connection) -> None:
        self._busy.pop(connection, None)
        if connection in self._every:
            self._every.remove(connection)
            self._hung_up.unregister(connection.fd)
        if connection in self._idle:
            self._idle.remove(connection)
        if not connection.dropped:
            self._lost()
        self._send()


def _hand_over(question: _Question, answer: bytes) -> None:
    """Each gets its answer, whatever becomes of the answer to another."""
    try:
        question.end(answer)
    except Exception as error:  # noqa: BLE001 - the others still wait for theirs
        defects.tell("an answer of the engine is not used", error)


async def _wait(put: Callable[[Callable[[EngineReply], None]], None]) -> bytes:
    """Await the reply to a question that `put` puts. Raises `EngineUnavailable`."""
    future: asyncio.Future[EngineReply] = asyncio.get_running_loop().create_future()
    put(lambda reply: None if future.done() else future.set_result(reply))
    reply = await future
    if isinstance(reply, EngineUnavailable):
        raise reply
    return reply
