"""One client and one server: what happens to each message between them. Bytes in, bytes out; no transport.

Everything that is not a tool call is forwarded at the first look; a tool call goes through the gate. What is sent is
always the canonical form of what was read. Where many exchanges share a session (HTTP), each message of the client
comes with the `Route` that it and its answer take.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Final, TypeAlias, assert_never

import msgspec

from sidecar.auth.caller import Caller
from sidecar.enforce.verdict import Forward, Reply, Verdict
from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Emit, Listed, Passed, Refused
from sidecar.mcp import jsonrpc, protocol, tool_call, tool_list
from sidecar.mcp.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    METHOD_NOT_FOUND,
    Batch,
    Id,
    Message,
    Notification,
    Request,
    Response,
)
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.session.batches import Joint, Parted
from sidecar.session.judge import Judge
from sidecar.session.pending import (
    ASKED,
    Call,
    Hello,
    Listing,
    Pending,
    Plain,
    Route,
    Send,
    Subscription,
    element,
    is_here,
    is_judged,
    pending_of,
    unheard,
)
from sidecar.session.reading import LARGE, Lane, Line, Read, Reader
from sidecar.session.requests import Inflight
from sidecar.system import defects, tasks
from sidecar.system.lines import TooLong
from sidecar.text import quoted, shown
from sidecar.upstream.failure import Failure

MAX_ANSWERED: Final = 1_000
"""Answers of one session that may be seen again, because a stream that broke is replayed."""

Look: TypeAlias = Callable[[Message], None]
Among: TypeAlias = Collection[Id] | None
"""The requests that a stream may answer; None where it may answer any."""
Deliver: TypeAlias = Callable[[bytes | None], None]
"""Gets what becomes of one message of the server, once: the bytes for the client, or None when it goes no further."""


class Session:
    """Passes messages between one client and one server.

    `route` is taken by messages of the client that come without one of their own, and by our answers to the server;
    `announce` gets what the server says unasked, by default on that route. `resumable` where the server may replay a
    stream. `revision` is the protocol revision, where it is known before the server says it. Large messages are read
    by `reader`, and what comes after one from the same side waits behind it.
    """

    def __init__(
        self, *, server: str, caller: Caller, gate: Judge, emit: Emit, route: Route,
        announce: Callable[[Message], None] | None = None, resumable: bool = False, revision: str = "",
        reader: Reader | None = None,
    ) -> None:  # fmt: skip
        self.caller = caller
        self.revision = revision
        self._server = server
        self._gate = gate
        self._emit = emit
        self._route = route
        self._announce = announce or (lambda message: route.to_client(message.raw))
        self._requests: Inflight[Pending] = Inflight()
        self._asked_of_client: Inflight[Plain] = Inflight()
        # Whether each was a list once, where answers may come again.
        self._answered: OrderedDict[Id, bool] | None = OrderedDict() if resumable else None
        self._announces = False
        self._reader = reader or Reader()
        self._client_lane, self._server_lane = Lane(self._reader), Lane(self._reader)
        self._filtering = tasks.Group()

    def holds(self, client: Callable[[bool], None], server: Callable[[bool], None]) -> None:
        """Tell `client` or `server` with True when that side should wait, and with False when it may go on."""
        self._client_lane.hold, self._server_lane.hold = client, server

    async def taken(self) -> None:
        """Wait until what the client sent is read."""
        await self._client_lane.caught_up()

    async def caught_up(self) -> None:
        """Wait until everything that came is read."""
        await self._client_lane.caught_up()
        await self._server_lane.caught_up()
        await self._filtering.wait()

    # From the client.

    def from_client(
        self, line: Line, route: Route | None = None, look: Look | None = None, *, read: Read | None = None
    ) -> None:  # fmt: skip
        """Take one message of the client, or a batch: forward it, judge it, or refuse it.

        `look` sees each message first; it raises `InvalidMessage` for one that does not fit how it came. `read` gives
        what was read of it, when its turn in the lane has come.
        """
        route = route or self._route
        if read is None and len(line) > self._client_lane.at_once:
            self._client_lane.put(line, self._taking(line, route, look), route.nothing)
            return
        try:
            if isinstance(line, TooLong):
                raise jsonrpc.too_long(line)
            found = self._gate.known.find(line)
            if found is not None:
                call, known = found
                if look is not None:
                    look(msgspec.structs.replace(known.request, id=call.id, raw=line))
                self._admit(call.id, known.client)
                self._call(call, route)
                return
            message = jsonrpc.read(line) if read is None else read()
            if isinstance(message, Batch):
                self._batch(message, route, look)
            else:
                self._from_client(message, route, look)
        except InvalidMessage as problem:
            self.refuse(problem, route)
        except Exception as error:  # noqa: BLE001 - it is told, and the message goes no further, whatever it is
            head, tail = (line.head, line.tail) if isinstance(line, TooLong) else (line, line)
            self._answer_refused(jsonrpc.unreadable(INTERNAL_ERROR, _told(error), head, tail), route)

    def _taking(self, line: Line, route: Route, look: Look | None) -> Callable[[Read], None]:
        """Takes a message once it is read, as of whoever calls now."""
        principal = self.caller.principal

        def take(read: Read) -> None:
            if self.caller.principal is not principal:
                self.caller = replace(self.caller, principal=principal)
            self.from_client(line, route, look, read=read)

        return take

    def refuse(self, problem: InvalidMessage, route: Route | None = None) -> None:
        """Answer a message of the client that cannot be taken."""
        route = route or self._route
        self._emit(Refused(self._gate.next_id(), self._server, self.caller, problem.code, str(problem)))
        self._answer_refused(problem, route)

    def _answer_refused(self, problem: InvalidMessage, route: Route) -> None:
        if not _is_answer(problem, self._asked_of_client):
            # Where nobody can tell what it was, an error must not end a call that runs.
            is_doubtful = problem.is_answer is None and problem.id is not None and self._requests.is_taken(problem.id)
            id_ = None if is_doubtful else problem.id
            (route.refuse or route.to_client)(jsonrpc.error(id_, problem.code, str(problem)))
        elif problem.id is not None and self._asked_of_client.close(problem.id) is not None:
            # Its id is the server's: an error with it would end some request of the client's own.
            route.to_server(jsonrpc.error(problem.id, INTERNAL_ERROR, "the client's answer cannot be passed on"))
        else:
            route.nothing()

    def _from_client(self, message: Message, route: Route, look: Look | None) -> None:
        if look is not None:
            look(message)
        if isinstance(message, Request):
            self._request(message, route)
        elif isinstance(message, Response):
            self._client_response(message, route)
        else:
            self._notification(message, route)

    def _batch(self, batch: Batch, route: Route, look: Look | None) -> None:
        """Judge each message of a batch by itself; what passes travels on as one batch, when all are judged."""
        if self.revision not in protocol.WITH_BATCHES:
            raise InvalidMessage(INVALID_REQUEST, "this revision has no batches: send one message at a time")

        def done(onward: bytes | None, answers: bytes | None) -> None:
            # Answers of our own go ahead: the server's may take their time, and a client matches answers by their ids.
            if answers is not None:
                route.to_client(answers)
            if onward is not None:
                route.to_server(onward)
            elif answers is None:
                route.nothing()

        parted = Parted(len(batch.elements), done)
        for place, one in enumerate(batch.elements):
            way = element(parted, place, route)
            try:
                if isinstance(one, InvalidMessage):
                    raise one
                if isinstance(one, Request) and one.method == protocol.INITIALIZE:
                    raise InvalidMessage(INVALID_REQUEST, "initialize stands in no batch", one.id)
                self._from_client(one, way, look)
            except InvalidMessage as problem:
                self.refuse(problem, way)
            except Exception as error:  # noqa: BLE001 - it ends this one, whatever it is, and not the others
                self._answer_refused(_unreadable(one, _told(error)), way)

    def _request(self, request: Request, route: Route) -> None:
        protocol.check_method(request)
        client = protocol.client_name(request)
        self._admit(request.id, client)
        if request.method == protocol.TOOLS_CALL:
            call = tool_call.read_call(request)
            self._gate.known.keep(request, call, client)
            self._call(call, route)
            return
        if not self._gate.permits(request.method, self.caller):
            text = f"the method {quoted(shown(request.method))} is not permitted by policy"
            (route.refuse or route.to_client)(jsonrpc.error(request.id, METHOD_NOT_FOUND, text))
            return
        self._gate.conclude()  # calls that came before this go before it
        self._requests.open(request.id, pending_of(request, route))
        try:
            self._emit(Passed(self._server, request.method))
            route.to_server(request.raw)
        except Exception:
            self._requests.close(request.id)
            raise

    def _admit(self, id_: Id, client: str | None) -> None:
        """Let a request in, of a client that calls itself so, unless it is one too many. Raises `InvalidMessage`."""
        if self._requests.is_taken(id_):
            raise InvalidMessage(INVALID_REQUEST, "this id is taken by a request that has no answer yet", id_)
        if self._requests.is_full:
            raise InvalidMessage(INVALID_REQUEST, "too many requests wait for an answer", id_)
        if client is not None and (name := shown(client)) != self.caller.client:
            self.caller = replace(self.caller, client=name)

    def _call(self, call: ToolCall, route: Route) -> None:
        pending = Call(route)

        def deliver(verdict: Verdict) -> None:
            pending.trial = None  # or the two would hold each other
            try:
                match verdict:
                    case Forward():
                        pending.forward = verdict
                        route.to_server(call.raw)
                    case Reply():
                        self._requests.close(call.id)
                        route.to_client(verdict.message)
                    case _:
                        assert_never(verdict)
            except Exception as error:  # noqa: BLE001 - it ends this call, whatever it is, and not those after it
                self.no_answer(call.id, Failure(_told(error), Outcome.UNKNOWN))

        self._requests.open(call.id, pending)
        try:
            pending.trial = self._gate.judge(call, self.caller, deliver)
        except Exception:
            self._requests.close(call.id)
            raise

    def _notification(self, notification: Notification, route: Route) -> None:
        protocol.check_method(notification)
        if notification.method == protocol.TOOLS_CALL:
            # Nothing forbids a server to run it, and nobody would hear of it.
            raise InvalidMessage(INVALID_REQUEST, "tools/call needs an id")
        if not self._gate.permits(notification.method, self.caller):
            route.nothing()
            return
        self._gate.conclude()
        if notification.method == protocol.CANCELLED:
            named = protocol.cancelled_id(notification)
            if named is not None and self.give_up(named):
                route.nothing()
                return
        self._emit(Passed(self._server, notification.method))
        route.to_server(notification.raw)

    def give_up(self, named: Id) -> bool:
        """End what the client gives up; True when the server need not know, because it never saw the call."""
        found = self._requests.resembling(named)
        if found is None:
            return False
        id_, pending = found
        if is_here(pending):
            # By a twin of its id too: a server that reads "7" as 7 would run the call after this cancel came first.
            self._requests.close(id_)
            self._let_go(pending)
            pending.route.nothing()
            return True
        if self._requests.get(named) is None:
            return False  # a twin of its id: whether that ends it is the server's to say
        hears = pending.route.given_up
        late = unheard(pending) if hears is not None else pending
        oldest = self._requests.cancel(named, late)
        if oldest is not None:
            self._let_go(oldest)
        if hears is not None:
            hears(id_)
        return False

    def _let_go(self, pending: Pending, outcome: Outcome = Outcome.UNKNOWN) -> None:
        """No answer will come to a request: settle it, by `outcome` where the server got it."""
        if isinstance(pending, Call):
            if pending.forward is not None:
                self._gate.settle(pending.forward, Outcome.NOT_RUN if is_here(pending) else outcome)
            elif pending.trial is not None:
                pending.trial.drop()

    def _client_response(self, response: Response, route: Route) -> None:
        if response.id is None or self._asked_of_client.close(response.id) is None:
            self._emit(Dropped(self._server, "client", "an answer that no request of the server waits for"))
            route.nothing()
            return
        route.to_server(response.raw)

    # From the server.

    def from_server(
        self, line: Line, deliver: Deliver | None = None, *, among: Among = None, replayed: bool = False,
        read: Read | None = None,
    ) -> None:  # fmt: skip
        """Take one message of the server, or a batch: forward it, or drop it.

        `deliver` gets what becomes of it, where the stream that it came on is not the way of its request; `among` are
        the requests that this stream may answer, where not any; `replayed` says that it brings again what may have
        come before. `read` gives what was read of it, when its turn in the lane has come.
        """
        if read is None and len(line) > self._server_lane.at_once:

            def take(read: Read) -> None:
                self.from_server(line, deliver, among=among, replayed=replayed, read=read)

            self._server_lane.put(line, take, lambda: deliver(None) if deliver is not None else None)
            return
        try:
            if isinstance(line, TooLong):
                raise jsonrpc.too_long(line)
            message = jsonrpc.read(line) if read is None else read()
            if isinstance(message, Batch):
                self._server_batch(message, deliver, among, replayed)
            else:
                self._from_server(message, deliver, among, replayed)
        except InvalidMessage as problem:
            self._unreadable(problem, deliver, among)
        except Exception as error:  # noqa: BLE001 - it ends this message, whatever it is
            defects.tell("a message of the server is dropped", error)
            if deliver is not None:
                deliver(None)

    def _server_batch(self, batch: Batch, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if self.revision not in protocol.WITH_BATCHES:
            raise InvalidMessage(INVALID_REQUEST, "this revision has no batches")
        add = Joint(len(batch.elements), deliver).add if deliver is not None else None
        for one in batch.elements:
            try:
                if isinstance(one, InvalidMessage):
                    raise one
                self._from_server(one, add, among, replayed)
            except InvalidMessage as problem:
                self._unreadable(problem, add, among)

    def _from_server(self, message: Message, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if isinstance(message, Response):
            self._response(message, deliver, among, replayed)
        elif isinstance(message, Request):
            self._server_request(message, deliver, replayed)
        else:
            self._say(message, deliver)

    def _say(self, message: Message, deliver: Deliver | None) -> None:
        if deliver is not None:
            deliver(message.raw)
        else:
            self._announce(message)

    def _drop(self, reason: str, deliver: Deliver | None) -> None:
        self._emit(Dropped(self._server, "server", reason))
        if deliver is not None:
            deliver(None)

    def _response(self, response: Response, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if response.id is None:
            # An error about a message that the server could not read: it answers no request of ours.
            self._say(response, deliver)
            return
        if among is not None and response.id not in among:
            # Clients exist that take whatever comes down the answer to a request for the answer to it.
            self._drop("an answer to another request than the one that it came down the answer of", deliver)
            return
        pending = self._requests.close(response.id)
        if pending is None:
            if replayed and self._answered is not None:
                self._again(response, self._answered.get(response.id), deliver)
            else:
                self._drop("an answer that no request waits for", deliver)
            return
        if is_here(pending):
            self._requests.open(response.id, pending)
            self._drop("an answer to a call that it did not get", deliver)
            return
        if self._answered is not None:
            # The same id may be used again, and either answer may come again: what was a list stays one.
            was_list = self._answered.pop(response.id, False)
            self._answered[response.id] = was_list or type(pending) is Listing
            if len(self._answered) > MAX_ANSWERED:
                self._answered.popitem(last=False)
        to_client = deliver or pending.route.to_client
        try:
            self._answer(pending, response, to_client)
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever, whatever it is
            to_client(jsonrpc.error(response.id, INTERNAL_ERROR, _told(error)))

    def _answer(self, pending: Pending, response: Response, to_client: Send) -> None:
        """The answer to a request that waits for it: settle that, and pass it on."""
        if type(pending) is Call:
            assert pending.forward is not None  # or it would be here
            show = self._filter if tool_list.looks_like_list(response) else _pass_on
            self._gate.settle(pending.forward, tool_call.outcome(response), lambda: show(response, to_client))
            return
        if type(pending) is Listing and response.error is None:
            self._list(response, to_client, first=pending.first)
            return
        if type(pending) is Hello:
            self._announces = tool_list.can_announce_tools(response)
            self.revision = protocol.agreed_revision(response)
        self._show(response, to_client)

    def _again(self, response: Response, was_list: bool | None, deliver: Deliver | None) -> None:
        """An answer that was settled before: it is shown again and settles nothing."""
        to_client = deliver or self._route.to_client
        if was_list is None:
            self._drop("an answer that no request waited for", deliver)
        elif was_list and response.error is None:
            self._list(response, to_client, first=False)
        else:
            self._show(response, to_client)

    def _list(self, response: Response, to_client: Send, *, first: bool) -> None:
        """The answer to a request for tools: note them, and show the client what it may see."""
        tools = tool_list.listed_tools(response)
        answer = response.result if type(response.result) is dict else {}
        whole = first and answer.get("nextCursor") is None
        self._emit(Listed(self._server, tools, whole))
        self._filter(response, to_client)

    def _show(self, response: Response, to_client: Send) -> None:
        """Give the client an answer to anything else.

        What looks like a list of tools is shown as one, whatever was asked: clients exist that do not look at the id
        of what comes down the answer to a request, and a result may be told by another request.
        """
        (self._filter if tool_list.looks_like_list(response) else _pass_on)(response, to_client)

    def _filter(self, response: Response, to_client: Send) -> None:
        if self._gate.filters:
            tools = tool_list.listed_tools(response)
            self._gate.filter(tools, self.caller, lambda hidden: self._show_filtered(response, hidden, to_client))
        else:
            to_client(response.raw)

    def _show_filtered(self, response: Response, hidden: frozenset[str] | None, to_client: Send) -> None:
        async def show() -> None:
            to_client(await self._reader.run(lambda: _filtered(response, hidden)))

        if len(response.raw) > LARGE:
            self._filtering.start(show())
        else:
            to_client(_filtered(response, hidden))

    def tools_changed(self) -> None:
        """Another policy is in force: a client that listens for it is told to list the tools again."""
        if self._announces:
            self._announce(tool_list.tools_changed())
        for id_, pending in self._requests.waiting():
            if isinstance(pending, Subscription) and pending.tools:
                self._announce(tool_list.tools_changed(id_))

    def _server_request(self, request: Request, deliver: Deliver | None, replayed: bool) -> None:
        if self._asked_of_client.is_taken(request.id):
            if not replayed:
                self._drop("a request whose id is taken", deliver)
                return
        elif self._asked_of_client.is_full:
            self._drop("one request too many", deliver)
            return
        else:
            self._asked_of_client.open(request.id, ASKED)
        self._say(request, deliver)

    def _unreadable(self, problem: InvalidMessage, deliver: Deliver | None, among: Among) -> None:
        self._emit(Dropped(self._server, "server", str(problem)))
        reply = None
        if problem.id is not None:
            if _is_answer(problem, self._requests):
                # Its answer came and cannot be passed on: the client must not wait for another.
                if among is None or problem.id in among:
                    reply = self._lost(problem.id, f"the server's answer cannot be passed on: {problem}")
            elif not self._asked_of_client.is_taken(problem.id):
                # A request of the server, with an id of its own: nobody else will answer it.
                self._route.to_server(jsonrpc.error(problem.id, problem.code, str(problem)))
        if deliver is not None:
            deliver(reply[1] if reply else None)
        elif reply is not None:
            reply[0].to_client(reply[1])

    def _lost(self, id: Id, text: str) -> tuple[Route, bytes] | None:  # noqa: A002
        """The one answer to a request came, be it a cancelled one, and is lost: its way and the error for it."""
        pending = self._requests.close(id)
        if pending is None:
            return None
        if is_here(pending):
            self._requests.open(id, pending)
            return None
        self._let_go(pending)
        return pending.route, jsonrpc.error(id, INTERNAL_ERROR, text)

    # The end.

    @property
    def is_waiting(self) -> bool:
        """True while the client may expect an answer; not to what stays open by its nature."""
        return any(not isinstance(pending, Subscription) for _, pending in self._requests.waiting())

    def unanswered(
        self,
        id: Id,  # noqa: A002
        text: str,
        code: int = protocol.SERVER_GONE,
        outcome: Outcome = Outcome.UNKNOWN,
        data: Any = None,
    ) -> tuple[Route, bytes] | None:
        """A request that was sent on will get no answer: settle it, and give back its way and the error for it.

        None when nothing waits under this id.
        """
        waiting = self._requests.get(id)
        if waiting is not None and is_here(waiting):
            return None
        pending = self._requests.close(id)
        if pending is None:
            return None
        self._let_go(pending, outcome)
        if waiting is None:
            return None  # it was cancelled: it is settled, and nobody waits for an answer
        return pending.route, jsonrpc.error(id, code, text, data)

    def no_answer(self, id: Id, failure: Failure) -> None:  # noqa: A002
        """A request that was sent on will get no answer: its client gets an error that says why."""
        unanswered = self.unanswered(id, failure.text, outcome=failure.outcome, data=failure.data)
        if unanswered is not None:
            unanswered[0].to_client(unanswered[1])

    def close(self) -> None:
        """Nobody waits for anything any more: settle it."""
        self._client_lane.close()
        self._server_lane.close()
        self._end(lambda pending, error: pending.route.nothing() if is_here(pending) else None)

    def server_ended(self) -> None:
        """The server is gone: answer everything that waits for it."""
        self._end(lambda pending, error: pending.route.to_client(error))

    def _end(self, answer: Callable[[Pending, bytes], None]) -> None:
        text = "the MCP server ended before it answered"
        # What is being judged comes last: once that is over its batch leaves, with whatever is still in it.
        for id_, pending, expected in sorted(self._requests.drain(), key=lambda one: is_judged(one[1])):
            self._let_go(pending)
            if expected:
                answer(pending, jsonrpc.error(id_, protocol.SERVER_GONE, text))


def _is_answer(problem: InvalidMessage, waiting: Inflight[Any]) -> bool:
    """Whether a message that cannot be read is an answer to one of those that wait.

    Where it does not tell itself, it is one when its id waits: ids begin at 1 on either side, and say little.
    """
    if problem.is_answer is not None:
        return problem.is_answer
    return problem.id is not None and waiting.get(problem.id) is not None


def _told(error: Exception) -> str:
    """What the client hears of a defect of ours, once that is told."""
    return defects.text(defects.tell("one message is refused", error))


def _unreadable(one: Message | InvalidMessage, text: str) -> InvalidMessage:
    """The refusal of a message because of us."""
    if isinstance(one, InvalidMessage):
        return one
    id_ = None if isinstance(one, Notification) else one.id
    return InvalidMessage(INTERNAL_ERROR, text, id_, is_answer=isinstance(one, Response))


def _pass_on(response: Response, to_client: Send) -> None:
    to_client(response.raw)


def _filtered(response: Response, hidden: frozenset[str] | None) -> bytes:
    if hidden is None:
        return jsonrpc.error(response.id, INTERNAL_ERROR, "the list of tools could not be filtered")
    try:
        return tool_list.filtered(response, hidden)
    except ValueError as problem:
        return jsonrpc.error(response.id, INTERNAL_ERROR, str(problem))
