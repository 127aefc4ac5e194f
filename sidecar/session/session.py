"""One client and one server: what happens to each message between them. Knows no transport.

A tool call goes through the gate. Any other message is forwarded at once, unless policy closes its method, or it stands
in a batch that still waits for its calls. What is sent is always the canonical form of what was read. Where many
exchanges share a session (HTTP), each message of the client comes with the `Route` that it and its answer take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TypeAlias, assert_never

import msgspec

from sidecar.auth.caller import Caller
from sidecar.enforce.denial import method_denied
from sidecar.enforce.verdict import Forward, Hold, Reply, Verdict
from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Emit, Passed, Refused
from sidecar.mcp import elicitation, jsonrpc, protocol, tool_call
from sidecar.mcp.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Batch,
    Id,
    Joined,
    Message,
    Notification,
    Request,
    Response,
)
from sidecar.mcp.protocol import ClientInfo
from sidecar.mcp.tool_call import Outcome, ToolCall
from sidecar.session.batches import Parted, element
from sidecar.session.client_requests import ClientRequests
from sidecar.session.from_server import Among, Announce, Deliver, FromServer
from sidecar.session.held_call import HeldCall
from sidecar.session.judge import Judge, Judgement
from sidecar.session.outstanding import Call, as_outstanding, is_answer
from sidecar.session.reading import Lane, Line, Read, Reader
from sidecar.session.route import Route
from sidecar.session.state import State
from sidecar.system import defects
from sidecar.system.lines import TooLong
from sidecar.upstream.failure import DEFECT, Failure
from sidecar.upstream.link import Said

Look: TypeAlias = Callable[[Message], None]


_LINES: Final = (bytes, TooLong)
"""A line that is not read yet; written as a union it would be made anew for each message."""


class Session:
    """Passes messages between one client and one server.

    `route` is taken by messages of the client that come without one of their own, and by our answers to the server;
    `announce` gets what the server says unasked, by default on that route. `resumable` where the server may replay a
    stream. `revision` is the protocol revision, where it is known before the server says it. Large messages are read
    by `reader`, and what comes after one from the same side waits behind it.
    """

    def __init__(
        self, *, server: str, caller: Caller, gate: Judge, emit: Emit, route: Route,
        announce: Announce | None = None, resumable: bool = False, revision: str = "", reader: Reader | None = None,
    ) -> None:  # fmt: skip
        self._server = server
        self._gate = gate
        self._emit = emit
        self._route = route
        reader = reader or Reader()
        self._requests = ClientRequests(gate)
        self._asked: set[Id] = set()
        """The ids of our own requests to the client that wait for its answer."""
        self._state = State(server, gate, emit, route, caller, revision, self._requests)
        self._client_lane, self._server_lane = (Lane(reader, lambda: self._state.whose) for _ in range(2))
        self._from_server = FromServer(self._state, announce or route.to_client, reader, resumable=resumable)

    @property
    def caller(self) -> Caller:
        """Who is at the client's end: others may learn it, or change it, later."""
        return self._state.caller

    @caller.setter
    def caller(self, caller: Caller) -> None:
        self._state.caller = caller

    @property
    def revision(self) -> str:
        """The protocol revision that is agreed on, or that the client says; empty where neither is known."""
        return self._state.revision

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
        await self._from_server.caught_up()

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
            self._client_lane.put(line, self._taking(line, route, look), route.dropped)
            return
        try:
            if isinstance(line, TooLong):
                raise jsonrpc.too_long(line)
            found = self._gate.known.find(line)
            if found is not None:
                call, known = found
                request = jsonrpc.again(known.request, call.id, line)
                if look is not None:
                    look(request)
                self._admit(call.id, known.client)
                self._call(request, call, route)
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
        if not is_answer(problem, self._state.asked_of_client):
            # Where nobody can tell what it was, an error must not end a call that runs.
            is_doubtful = problem.is_answer is None and problem.id is not None and self._requests.is_taken(problem.id)
            id_ = None if is_doubtful else problem.id
            (route.refuse or route.to_client)(jsonrpc.error(id_, problem.code, str(problem)))
        elif problem.id is not None and self._state.asked_of_client.close(problem.id) is not None:
            # Its id is the server's: an error with it would end some request of the client's own.
            route.to_server(jsonrpc.error(problem.id, INTERNAL_ERROR, "the client's answer cannot be passed on"))
        else:
            route.dropped()

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

        def done(onward: Joined | None, answers: Joined | None) -> None:
            # Answers of our own go ahead: the server's may take their time, and a client matches answers by their ids.
            if answers is not None:
                route.to_client(answers)
            if onward is not None:
                route.to_server(onward)
            elif answers is None:
                route.dropped()

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
        client = protocol.client_info(request)
        self._admit(request.id, client)
        if request.method == protocol.TOOLS_CALL:
            is_resumed = elicitation.is_resumed(request)
            if is_resumed:
                request = elicitation.resumed(request)
            call = tool_call.read_call(request)
            self._gate.known.keep(request, call, client)
            self._call(request, call, route, may_elicit=not is_resumed)
            return
        if request.method == protocol.INITIALIZE:
            self.caller = replace(self.caller, elicits=bool(elicitation.takes_urls(request)))
        if not self._gate.permits(request.method, self.caller):
            (route.refuse or route.to_client)(method_denied(request))
            return
        self._gate.conclude()  # calls that came before this go before it
        self._requests.open(request.id, as_outstanding(request, route, self._state.pages))
        try:
            self._emit(Passed(self._server, request.method))
            route.to_server(request)
        except Exception:
            self._requests.close(request.id)
            raise

    def _admit(self, id_: Id, client: ClientInfo | None) -> None:
        """Let a request in, of a client that says so of itself, unless it is one too many. Raises `InvalidMessage`."""
        if self._requests.is_taken(id_):
            raise InvalidMessage(INVALID_REQUEST, "this id is taken by a request that has no answer yet", id_)
        if self._requests.is_full:
            raise InvalidMessage(INVALID_REQUEST, "too many requests wait for an answer", id_)
        if client is not None and client != self.caller.said:
            self.caller = replace(self.caller, client=client.shown, said=client)

    def _call(self, request: Request, call: ToolCall, route: Route, *, may_elicit: bool = True) -> None:
        if route.trace is not None and call.trace is None:
            call = msgspec.structs.replace(call, trace=route.trace)
        pending = Call(route)

        def deliver(verdict: Verdict) -> None:
            trial, pending.trial = pending.trial, None  # or the two would hold each other
            try:
                if isinstance(trial, HeldCall):
                    trial.end()
                    # Else a call that is held once more, for another approval, would tell of this one again.
                    trial = trial.trial
                match verdict:
                    case Forward():  # most are
                        pending.forward = verdict
                        route.to_server(request)
                    case Hold():
                        assert trial is not None  # or it was given up, and nothing is delivered any more
                        pending.trial = held = self._held(verdict, trial, request, route)
                        route.held()
                        held.begin(elicits=verdict.elicits and self._sends_requests(call))
                    case Reply():
                        self._requests.close(call.id)
                        route.to_client(verdict.message)
                    case _:
                        assert_never(verdict)
            except Exception as error:  # noqa: BLE001 - it ends this call, whatever it is, and not those after it
                self.no_answer(call.id, Failure(_told(error), Outcome.UNKNOWN, DEFECT))

        self._requests.open(call.id, pending)
        try:
            # Others say once who they are.
            caller = self.caller if may_elicit and not call.stateless else self._calling(request, call, may_elicit)
            pending.trial = self._gate.judge(call, caller, deliver, may_hold=route.may_hold)
        except Exception:
            self._requests.close(call.id)
            raise

    def _calling(self, request: Request, call: ToolCall, may_elicit: bool) -> Caller:
        """Who makes a call, and whether that one may be answered with a page to open: a repeated one was already."""
        if call.stateless and (elicits := bool(elicitation.takes_urls(request))) is not self.caller.elicits:
            self.caller = replace(self.caller, elicits=elicits)
        return self.caller if may_elicit or not self.caller.elicits else replace(self.caller, elicits=False)

    def _held(self, hold: Hold, trial: Judgement, request: Request, route: Route) -> HeldCall:
        return HeldCall(hold, trial, route.tell or route.to_client, protocol.progress_token(request), self._asked)

    def _sends_requests(self, call: ToolCall) -> bool:
        """True where a client can be sent a request to open a page."""
        return not call.stateless and self.revision in elicitation.WITH_REQUESTS

    def _notification(self, notification: Notification, route: Route) -> None:
        protocol.check_method(notification)
        if notification.method == protocol.TOOLS_CALL:
            # Nothing forbids a server to run it, and nobody would hear of it.
            raise InvalidMessage(INVALID_REQUEST, "tools/call needs an id")
        if not self._gate.permits(notification.method, self.caller):
            route.dropped()
            return
        self._gate.conclude()
        if notification.method == protocol.CANCELLED:
            named = protocol.cancelled_id(notification)
            if named is not None and self._requests.give_up(named):
                route.dropped()
                return
        self._emit(Passed(self._server, notification.method))
        route.to_server(notification)

    def _client_response(self, response: Response, route: Route) -> None:
        if response.id is not None and response.id in self._asked:
            # Whatever the person at the client says to it, the approval is decided on the page.
            self._asked.discard(response.id)
            route.dropped()
            return
        if response.id is None or self._state.asked_of_client.close(response.id) is None:
            self._emit(Dropped(self._server, "client", "an answer that no request of the server waits for"))
            route.dropped()
            return
        route.to_server(response)

    # From the server.

    def from_server(
        self, said: Said, deliver: Deliver | None = None, *, among: Among = None, replayed: bool = False
    ) -> None:  # fmt: skip
        """Take one message of the server, or a batch: see `FromServer.take`.

        A line is read in its turn. A link that reads what it passes on does so with all of it, and in order.
        """
        if isinstance(said, _LINES) and len(said) > self._server_lane.at_once:

            def take(read: Read) -> None:
                self._from_server.take(read, deliver, among=among, replayed=replayed)

            self._server_lane.put(said, take, lambda: deliver(None) if deliver is not None else None)
        else:
            self._from_server.take(said, deliver, among=among, replayed=replayed)

    def tools_changed(self) -> None:
        """Another policy is in force: a client that listens for it is told to list the tools again."""
        self._from_server.tools_changed()

    # The end.

    @property
    def is_waiting(self) -> bool:
        """True while the client may expect an answer; not to what stays open by its nature."""
        return self._requests.is_waiting or self._from_server.is_showing

    def unanswered(
        self,
        id: Id,  # noqa: A002 - the protocol's word
        failure: Failure,
        code: int = protocol.SERVER_GONE,
    ) -> tuple[Route, Response] | None:
        """A request that was sent on will get no answer: see `ClientRequests.unanswered`."""
        return self._requests.unanswered(id, failure, code)

    def no_answer(self, id: Id, failure: Failure) -> None:  # noqa: A002
        """A request that was sent on will get no answer: its client gets an error that says why."""
        self._requests.no_answer(id, failure)

    def left(self, id: Id) -> None:  # noqa: A002 - the protocol's word
        """Whoever asked this is gone: a call that is being judged yet ends."""
        self._requests.leave(id)

    def close(self) -> None:
        """Nobody waits for anything any more: settle it."""
        self._client_lane.close()
        self._server_lane.close()
        self._requests.drop_all()

    def server_ended(self, cause: str = "ended") -> None:
        """The server is gone, for this `cause` of `Settled`: answer everything that waits for it."""
        self._requests.server_ended(cause)


def _told(error: Exception) -> str:
    """What the client hears of a defect of ours, once that is told."""
    return defects.text(defects.tell("one message is refused", error))


def _unreadable(one: Message | InvalidMessage, text: str) -> InvalidMessage:
    """The refusal of a message because of us."""
    if isinstance(one, InvalidMessage):
        return one
    id_ = None if isinstance(one, Notification) else one.id
    return InvalidMessage(INTERNAL_ERROR, text, id_, is_answer=isinstance(one, Response))
