"""The requests of one client that wait for an answer, and what becomes of those that the server does not answer."""

from __future__ import annotations

from collections.abc import Callable

from sidecar.mcp import jsonrpc, protocol
from sidecar.mcp.jsonrpc import INTERNAL_ERROR, Id, Response
from sidecar.mcp.tool_call import Outcome
from sidecar.session.judge import Judge
from sidecar.session.outstanding import (
    Call,
    Outstanding,
    OutstandingRequests,
    Subscription,
    is_here,
    is_judged,
    unheard,
)
from sidecar.session.route import Route
from sidecar.upstream.failure import GIVEN_UP, Failure


class ClientRequests(OutstandingRequests[Outstanding]):
    """Settles by `gate` each call that leaves the table without an answer of the server."""

    def __init__(self, gate: Judge) -> None:
        super().__init__()
        self._gate = gate

    @property
    def is_waiting(self) -> bool:
        """True while the client may expect an answer; not to what stays open by its nature."""
        return any(not isinstance(one, Subscription) for _, one in self.waiting())

    def give_up(self, named: Id) -> bool:
        """End what the client cancels; True when the server need not know, because it never got the request."""
        found = self.resembling(named)
        if found is None:
            return False
        id_, one = found
        if is_here(one):
            # By a twin of its id too: a server that reads "7" as 7 would run the call after this cancel came first.
            self.close(id_)
            self._let_go(one, GIVEN_UP)
            one.route.dropped()
            return True
        if self.get(named) is None:
            return False  # a twin of its id: whether that ends it is the server's to say
        if isinstance(one, Call) and one.forward is not None:
            self._gate.given_up(one.forward)
        cancelled = one.route.cancelled
        oldest = self.cancel(named, one if cancelled is None else unheard(one))
        if oldest is not None:
            self._let_go(oldest, GIVEN_UP)
        if cancelled is not None:
            cancelled(id_)
        return False

    def leave(self, id: Id) -> None:  # noqa: A002 - the protocol's word
        """Whoever asked this is gone: it ends where it is being judged yet."""
        one = self.get(id)
        if one is not None and is_judged(one):
            self.close(id)
            self._let_go(one, GIVEN_UP)
            one.route.dropped()

    def unanswered(
        self,
        id: Id,  # noqa: A002 - the protocol's word
        failure: Failure,
        code: int = protocol.SERVER_GONE,
    ) -> tuple[Route, Response] | None:
        """A request that was sent on will get no answer: settle it, and give back its route and the error for it.

        None when nothing waits under this id.
        """
        waiting = self.get(id)
        if waiting is not None and is_here(waiting):
            return None
        one = self.close(id)
        if one is None:
            return None
        self._let_go(one, failure.cause, failure.outcome, failure.status)
        if waiting is None:
            return None  # it was cancelled: it is settled, and nobody waits for an answer
        return one.route, jsonrpc.error(id, code, failure.text, failure.data)

    def no_answer(self, id: Id, failure: Failure) -> None:  # noqa: A002
        """A request that was sent on will get no answer: its client gets an error that says why."""
        found = self.unanswered(id, failure)
        if found is not None:
            found[0].to_client(found[1])

    def lost(self, id: Id, text: str) -> tuple[Route, Response] | None:  # noqa: A002
        """The one answer to a request came, be it a cancelled one, and is lost: its route and the error for it."""
        one = self.close(id)
        if one is None:
            return None
        if is_here(one):
            self.open(id, one)
            return None
        failure = Failure(text, Outcome.UNKNOWN, "unreadable")
        self._let_go(one, failure.cause)
        return one.route, jsonrpc.error(id, INTERNAL_ERROR, failure.text, failure.data)

    def drop_all(self) -> None:
        """Nobody waits for anything any more: settle it."""
        self._end(GIVEN_UP, lambda one, error: one.route.dropped() if is_here(one) else None)

    def server_ended(self, cause: str) -> None:
        """The server is gone: answer everything that waits for it."""
        self._end(cause, lambda one, error: one.route.to_client(error))

    def _end(self, cause: str, answer: Callable[[Outstanding, Response], None]) -> None:
        failure = Failure("the MCP server ended before it answered", Outcome.UNKNOWN, cause)
        # What is being judged comes last: once that is over its batch leaves, with whatever is still in it.
        for id_, one, is_expected in sorted(self.drain(), key=lambda each: is_judged(each[1])):
            self._let_go(one, cause)
            if is_expected:
                answer(one, jsonrpc.error(id_, protocol.SERVER_GONE, failure.text, failure.data))

    def _let_go(self, one: Outstanding, cause: str, outcome: Outcome = Outcome.UNKNOWN, status: int = 0) -> None:
        """No answer will come to a request: settle it, by `outcome` where the server got it."""
        if isinstance(one, Call):
            if one.forward is not None:
                outcome = Outcome.NOT_RUN if is_here(one) else outcome
                self._gate.settle(one.forward, outcome, cause=cause, status=status)
            elif one.trial is not None:
                one.trial.drop()
