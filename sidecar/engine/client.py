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

CONNECTIONS: Final = 64
"""Requests in flight at once."""

ABREAST: Final = max(2, len(os.sched_getaffinity(0)) // 2)
"""Requests in flight while the questions that come wait for an answer, to travel together: enough to keep OPA busy."""

PATIENCE: Final = 0.005
"""Seconds that a question waits for the answer to another; if that one is slow it goes beside it."""

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
        self.deadline = (monotonic() + questions[0].deadline) / 2


class EngineClient:
    """Asks the OPA at a socket. `lost` is called when OPA ends a connection: it may have died.

    `timeout` is in seconds. A connection is used only after it answered all `greetings` acceptably. While
    `ABREAST` requests are in flight, questions wait and travel together, `most` in one request; one that gets no answer
    in that way is asked once more, alone. With a `most` of 1 each question travels alone and waits for none.
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
        self._busy: set[Connection] = set()
        self._every: set[Connection] = set()
        self._hung_up = select.poll()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Question] = deque()
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
        question = _Question(body, decision_id, self._timeout, done, alone=self._most == 1 or len(body) > MOST_BYTES)
        self._questions.add(question)
        if not self._waiting and len(self._busy) < ABREAST and (connection := self._silent()) is not None:
            self._ask(connection, (question,))
            return
        self._waiting.append(question)
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
        while self._waiting:
            self._waiting.popleft().end(unreachable())
        for connection in list(self._every):
            connection.drop()

    # What waits.

    def _send(self) -> None:
        """Send what waits, as far as it need not wait for an answer to what is in flight."""
        while self._goes_now():
            if (connection := self._silent()) is None:
                self._connect_one()
                break
            self._ask(connection, self._next())
        if self._waiting and self._patience is None and not self._closed:
            self._patience = asyncio.get_running_loop().call_later(PATIENCE, self._lose_patience)

    def _goes_now(self) -> bool:
        """True if the question that waits longest waits for no answer, or has waited long enough."""
        while self._waiting and not self._waiting[0].is_open:
            self._waiting.popleft()
        if not self._waiting:
            return False
        first = self._waiting[0]
        return first.alone or len(self._busy) < ABREAST or monotonic() - first.since >= PATIENCE

    def _lose_patience(self) -> None:
        self._patience = None
        self._send()

    def _next(self) -> list[_Question]:
        """Take the questions of one request, those that wait longest; none if nobody waits."""
        taken: list[_Question] = []
        size = 0
        while self._waiting and len(taken) < self._most:
            question = self._waiting[0]
            size += len(question.body)
            if taken and question.is_open and (question.alone or size > MOST_BYTES):
                break
            self._waiting.popleft()
            if question.is_open:
                taken.append(question)
                if question.alone:
                    break
        return taken

    def _ask(self, connection: Connection, questions: Sequence[_Question]) -> None:
        self._busy.add(connection)
        if len(questions) == 1:
            (question,) = questions
            connection.ask(question, request(question.body, question.decision_id))
            return
        travelling = _Together(questions, partial(self._came_back, questions))
        self._travelling.add(travelling)
        body = together([question.body for question in questions])
        connection.ask(travelling, request_for_several(body, [question.decision_id for question in questions]))

    def _came_back(self, questions: Sequence[_Question], reply: EngineReply) -> None:
        """Hand each question its answer; one that has none is asked alone."""
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
        for question in travelling.questions:
            self._ask_again(question)

    def _ask_again(self, question: _Question) -> None:
        if self._closed:
            question.end(unreachable())
        elif question.is_open:
            question.alone = True
            self._waiting.appendleft(question)  # it has waited longer than any that has not been asked
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
        """One more connection, where there is room for it and fewer are on their way than requests wait."""
        requests = len(self._waiting) if self._waiting[0].alone else -(-len(self._waiting) // self._most)
        if len(self._connecting) < min(requests, CONNECTIONS - len(self._every)):
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
        """The connection that was made for the questions that wait longest is none."""
        for question in self._next():
            question.end(error)

    def _free(self, connection: Connection) -> None:
        """A connection can take another request."""
        self._busy.discard(connection)
        self._idle.append(connection)
        self._send()

    def _gone(self, connection: Connection) -> None:
        self._busy.discard(connection)
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
