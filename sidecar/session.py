"""One client and one server: what happens to each message between them. Bytes in, bytes out; no transport.

Everything that is not a tool call is forwarded at the first look; a tool call goes through the gate. What is sent is
always the canonical form of what was read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sidecar import jsonrpc, protocol
from sidecar.enforce import Forward, Gate, Reply, Trial, Verdict
from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Emit, Listed, Passed, Refused
from sidecar.framing import TooLong
from sidecar.inflight import Inflight
from sidecar.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Id, Notification, Request, Response
from sidecar.protocol import Outcome, ToolCall

Send = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class _Plain:
    """A request that is no call, forwarded and outstanding."""


@dataclass(slots=True)
class _Judged:
    """A call that is being judged."""

    trial: Trial


@dataclass(frozen=True, slots=True)
class _Listing:
    """A request for the list of tools, or a page of it."""

    first: bool


_Pending = _Plain | _Listing | _Judged | Forward
_PLAIN: Final = _Plain()
_HELLO: Final = _Plain()
"""The request `initialize`."""


class Session:
    """Passes messages between `to_client` and `to_server`, which write one message each."""

    def __init__(self, *, server: str, session: str, gate: Gate, emit: Emit, to_client: Send, to_server: Send) -> None:
        self._server = server
        self._session = session
        self._gate = gate
        self._emit = emit
        self._to_client = to_client
        self._to_server = to_server
        self._requests: Inflight[_Pending] = Inflight()
        self._asked_of_client: Inflight[_Plain] = Inflight()
        self._announces = False

    # From the client.

    def from_client(self, line: bytes | TooLong) -> None:
        """Take one message of the client: forward it, judge it, or refuse it."""
        try:
            if isinstance(line, TooLong):
                raise _too_long(line)
            match jsonrpc.read(line):
                case Request() as request:
                    self._request(request)
                case Notification() as notification:
                    self._notification(notification)
                case Response() as response:
                    self._client_response(response)
        except InvalidMessage as problem:
            self._refuse(problem)

    def _request(self, request: Request) -> None:
        protocol.check_method(request)
        if self._requests.is_taken(request.id):
            raise InvalidMessage(INVALID_REQUEST, "this id is taken by a request that has no answer yet", request.id)
        if self._requests.is_full:
            raise InvalidMessage(INVALID_REQUEST, "too many requests wait for an answer", request.id)
        if (client := protocol.client_name(request)) is not None:
            self._gate.meet(client)
        if request.method == protocol.TOOLS_CALL:
            self._call(protocol.tool_call(request))
            return
        self._requests.open(request.id, _pending(request))
        self._emit(Passed(self._server, request.method))
        self._to_server(request.raw)

    def _call(self, call: ToolCall) -> None:
        delivered = False

        def deliver(verdict: Verdict) -> None:
            nonlocal delivered
            delivered = True
            match verdict:
                case Forward():
                    self._requests.open(call.id, verdict)
                    self._to_server(call.raw)
                case Reply():
                    self._requests.close(call.id)
                    self._to_client(verdict.message)

        trial = self._gate.judge(call, deliver)
        if not delivered:
            self._requests.open(call.id, _Judged(trial))

    def _notification(self, notification: Notification) -> None:
        protocol.check_method(notification)
        if notification.method == protocol.TOOLS_CALL:
            # Nothing forbids a server to run it, and nobody would hear of it.
            raise InvalidMessage(INVALID_REQUEST, "tools/call needs an id")
        if notification.method == protocol.CANCELLED and self._cancel(protocol.cancelled_id(notification)):
            return
        self._emit(Passed(self._server, notification.method))
        self._to_server(notification.raw)

    def _cancel(self, named: Id | None) -> bool:
        """End what the client gives up; True when the server need not know, because it never saw the call."""
        found = self._requests.resembling(named) if named is not None else None
        if named is None or found is None:
            return False
        id_, pending = found
        if isinstance(pending, _Judged):
            # By a twin of its id too: a server that reads "7" as 7 would run the call after this cancel came first.
            pending.trial.drop()
            self._requests.close(id_)
            return True
        given_up = self._requests.cancel(named)
        if isinstance(given_up, Forward):
            self._gate.settle(given_up, Outcome.UNKNOWN)
        return False

    def _client_response(self, response: Response) -> None:
        if response.id is None or self._asked_of_client.close(response.id) is None:
            self._emit(Dropped(self._server, "client", "an answer that no request of the server waits for"))
            return
        self._to_server(response.raw)

    def _refuse(self, problem: InvalidMessage) -> None:
        self._emit(Refused(self._gate.next_id(), self._server, self._session, problem.code, str(problem)))
        if not problem.is_answer:
            self._to_client(jsonrpc.error(problem.id, problem.code, str(problem)))
        elif problem.id is not None and self._asked_of_client.close(problem.id) is not None:
            # Its id is the server's: an error with it would end some request of the client's own.
            self._to_server(jsonrpc.error(problem.id, INTERNAL_ERROR, "the client's answer cannot be passed on"))

    # From the server.

    def from_server(self, line: bytes | TooLong) -> None:
        """Take one message of the server: forward it, or drop it."""
        try:
            if isinstance(line, TooLong):
                raise _too_long(line)
            match jsonrpc.read(line):
                case Response() as response:
                    self._response(response)
                case Request() as request:
                    self._server_request(request)
                case Notification() as notification:
                    self._to_client(notification.raw)
        except InvalidMessage as problem:
            self._unreadable(problem)

    def _response(self, response: Response) -> None:
        if response.id is None:
            # An error about a message that the server could not read: it answers no request of ours.
            self._to_client(response.raw)
            return
        if isinstance(self._requests.get(response.id), _Judged):
            self._emit(Dropped(self._server, "server", "an answer to a call that it did not get"))
            return
        pending = self._requests.close(response.id)
        if pending is None:
            self._emit(Dropped(self._server, "server", "an answer that no request waits for"))
            return
        match pending:
            case Forward():
                self._gate.settle(pending, protocol.outcome(response), lambda: self._to_client(response.raw))
                return
            case _Listing() if response.error is None:
                self._list(response, pending)
                return
            case _Plain() if pending is _HELLO:
                self._announces = protocol.can_announce_tools(response)
        self._to_client(response.raw)

    def _list(self, response: Response, listing: _Listing) -> None:
        """Show the client what it may see of a list."""
        tools = protocol.listed_tools(response)
        answer = response.result if type(response.result) is dict else {}
        whole = listing.first and answer.get("nextCursor") is None
        self._emit(Listed(self._server, tools, whole))
        if self._gate.filters:
            self._gate.filter(tools, lambda hidden: self._show(response, hidden))
        else:
            self._to_client(response.raw)

    def _show(self, response: Response, hidden: frozenset[str] | None) -> None:
        if hidden is None:
            self._to_client(jsonrpc.error(response.id, INTERNAL_ERROR, "the list of tools could not be filtered"))
        else:
            try:
                self._to_client(protocol.filtered(response, hidden))
            except ValueError as problem:
                self._to_client(jsonrpc.error(response.id, INTERNAL_ERROR, str(problem)))

    def tools_changed(self) -> None:
        """Another policy is in force: a client that listens for it is told to list the tools again."""
        if self._announces:
            self._to_client(protocol.TOOLS_CHANGED)

    def _server_request(self, request: Request) -> None:
        if self._asked_of_client.is_taken(request.id) or self._asked_of_client.is_full:
            self._emit(Dropped(self._server, "server", "a request whose id is taken, or one too many"))
            return
        self._asked_of_client.open(request.id, _PLAIN)
        self._to_client(request.raw)

    def _unreadable(self, problem: InvalidMessage) -> None:
        self._emit(Dropped(self._server, "server", str(problem)))
        if problem.id is None:
            return
        if not problem.is_answer:
            # A request of the server, with an id of its own: nobody else will answer it.
            self._to_server(jsonrpc.error(problem.id, problem.code, str(problem)))
            return
        pending = self._requests.get(problem.id)
        if pending is None or isinstance(pending, _Judged):
            return
        # Its answer came and cannot be passed on: the client must not wait for another.
        self._requests.close(problem.id)
        if isinstance(pending, Forward):
            self._gate.settle(pending, Outcome.UNKNOWN)
        text = f"the server's answer cannot be passed on: {problem}"
        self._to_client(jsonrpc.error(problem.id, INTERNAL_ERROR, text))

    # The end.

    def server_ended(self) -> None:
        """The server is gone: answer everything that waits for it."""
        for id_, pending, expected in self._requests.drain():
            match pending:
                case Forward():
                    self._gate.settle(pending, Outcome.UNKNOWN)
                case _Judged():
                    pending.trial.drop()
            if expected:
                self._to_client(jsonrpc.error(id_, protocol.SERVER_GONE, "the MCP server ended before it answered"))


def _pending(request: Request) -> _Plain | _Listing:
    if request.method == protocol.TOOLS_LIST:
        return _Listing(first=not (request.params or {}).get("cursor"))
    return _HELLO if request.method == "initialize" else _PLAIN


def _too_long(line: TooLong) -> InvalidMessage:
    text = f"a message may have up to {line.limit} bytes"
    return jsonrpc.unreadable(INVALID_REQUEST, text, line.head, line.tail)
