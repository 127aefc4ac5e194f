"""One POST on its way to a server over HTTP and back, without a task where nothing has to be awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol

from sidecar.downstream.early_stream import EarlyStream
from sidecar.downstream.post import Post
from sidecar.downstream.relay.client import Tracked
from sidecar.downstream.relay.response import Passing, send_failure, unanswered
from sidecar.downstream.sessions import NoRoom, full
from sidecar.http.client import ClientResponse, Lost, PendingRequest, Unreachable
from sidecar.http.server import Exchange, Gone
from sidecar.http.values import Request
from sidecar.mcp.tool_call import Outcome
from sidecar.upstream.failure import Failure
from sidecar.upstream.remote import DEFECTIVE, LEFT


class Way(Protocol):
    """What a passage needs of whoever serves the client."""

    passing: Passing

    def ask(self, post: Post, tracked: Tracked, request: Request, asking: PendingRequest) -> None:
        """Send what goes on to the server."""

    def reserve(self, tracked: Tracked) -> None:
        """Keep room for a session that the server may open. Raises `NoRoom`."""

    def opened(self, answer: ClientResponse | None, post: Post, tracked: Tracked) -> None:
        """The server answered, or did not, where room was kept: it may have opened a session."""


_Given = ParamSpec("_Given")


def _contained(
    step: Callable[Concatenate[Passage, _Given], None],
) -> Callable[Concatenate[Passage, _Given], None]:
    """A step whose defects end its own request and no other: it is called by what serves others too."""

    @wraps(step)
    def contained(passage: Passage, /, *given: _Given.args, **named: _Given.kwargs) -> None:
        try:
            step(passage, *given, **named)
        except Exception as error:  # noqa: BLE001 - it is told to the exchange, whatever it is
            passage.failed(error)

    return contained


class Passage:
    """Takes one POST through; `over` is called once, when nothing of it is left."""

    __slots__ = (
        "_answer", "_asking", "_exchange", "_is_over", "_over", "_post", "_request", "_reserved", "_task", "_tracked",
        "_way",
    )  # fmt: skip

    def __init__(
        self, way: Way, post: Post, tracked: Tracked, request: Request, exchange: Exchange, over: Callable[[], object]
    ) -> None:  # fmt: skip
        self._way = way
        self._post = post
        self._tracked = tracked
        self._request = request
        self._exchange: Exchange | EarlyStream = exchange
        self._over = over
        self._asking: PendingRequest | None = None
        self._answer: ClientResponse | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_over = self._reserved = False

    @_contained
    def begin(self) -> None:
        """Have the messages judged, and go on."""
        self._exchange.keep()
        post = self._post
        if post.is_stateless:
            # There the end of the connection is how a client cancels.
            self._exchange.on_gone(self._gone)
        self._tracked.session.from_client(self._request.take(), post.route, post.look)
        post.when_held(self._held)
        post.when_settled(self._settled)

    def failed(self, error: Exception) -> None:
        """A defect of ours: give everything up."""
        self._exchange.failed(error)
        self._give_up(DEFECTIVE)

    # What is called back.

    @_contained
    def _held(self) -> None:
        """A call waits for a person: its client hears of that, and its leaving ends the wait."""
        if self._is_over or isinstance(self._exchange, EarlyStream):
            return
        if not self._post.is_stateless:
            self._exchange.on_gone(self._left)
        if self._post.takes_events:
            early = self._exchange = EarlyStream(self._exchange)
            self._post.meanwhile = early.tell

    @_contained
    def _left(self) -> None:
        """The client left while its call waited, or later."""
        if not self._post.goes_on:
            self._tracked.session.left(self._post.requests[0])

    @_contained
    def _settled(self) -> None:
        if self._is_over:
            return
        post = self._post
        if not post.goes_on:
            self._exchange.send(post.outcome())
            self._end()
            return
        if not post.is_stateless:
            # The server is to see that nobody reads any more, as it would without us. To end or go on is its choice.
            self._exchange.on_gone(self._gone)
        if post.hello:
            try:
                self._way.reserve(self._tracked)
            except NoRoom as problem:
                (asked,) = post.requests  # it stands in no batch
                unanswered(self._tracked.session, post, Failure(str(problem), Outcome.NOT_RUN, "unsent"))
                self._exchange.send(full(asked, problem))
                self._end()
                return
            self._reserved = True
        self._asking = PendingRequest(self._answered, self._unasked)
        self._way.ask(post, self._tracked, self._request, self._asking)
        self._exchange.let_go()

    @_contained
    def _answered(self, answer: ClientResponse) -> None:
        self._answer, self._asking = answer, None
        self._opened(answer)
        work = self._way.passing.answer(answer, self._post, self._tracked, self._exchange)
        if work is None:
            self._end()
        else:
            self._task = self._exchange.run(work)
            self._task.add_done_callback(self._passed)

    @_contained
    def _unasked(self, problem: Unreachable | Lost) -> None:
        self._asking = None
        self._opened(None)
        failure = self._way.passing.failed(problem)
        send_failure(self._exchange, self._tracked.session, self._post, failure)
        self._end()

    @_contained
    def _passed(self, task: asyncio.Task[None]) -> None:
        self._task = None
        # What was left unfinished, because the server ends or the stream has to, must not be taken for whole.
        self._exchange.abort()
        is_defect = not task.cancelled() and not isinstance(task.exception(), Gone | None)
        self._end(DEFECTIVE if is_defect else LEFT)

    @_contained
    def _gone(self) -> None:
        """The client left."""
        self._give_up()

    # The end.

    def _give_up(self, left: Failure = LEFT) -> None:
        if self._asking is not None:
            self._asking.give_up()
        if self._task is not None:
            self._task.cancel()
        self._end(left)

    def _opened(self, answer: ClientResponse | None) -> None:
        if self._reserved:
            self._reserved = False
            self._way.opened(answer, self._post, self._tracked)

    def _end(self, left: Failure = LEFT) -> None:
        """Nothing more will come of it: whatever of it has no answer is `left` so."""
        if self._is_over:
            return
        self._is_over = True
        self._opened(None)
        if self._answer is not None:
            self._answer.abort()
        if self._post.goes_on and not self._post.resumable:
            # Nobody can come back for what has not been answered.
            unanswered(self._tracked.session, self._post, left)
        self._over()
