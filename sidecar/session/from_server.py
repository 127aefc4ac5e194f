"""What a server says, on its way to the client: requests, notifications, and answers, which settle what waits for them.

Lists of tools are shown without what the client may not see, whatever they come as.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from typing import Final, TypeAlias

from sidecar.errors import InvalidMessage
from sidecar.events import Dropped, Listed, UpstreamAnswered, UpstreamFailed
from sidecar.mcp import definition, jsonrpc, protocol, tool_call, tool_list
from sidecar.mcp.jsonrpc import INTERNAL_ERROR, INVALID_REQUEST, Batch, Id, Message, Outgoing, Request, Response
from sidecar.session.batches import Joint
from sidecar.session.outstanding import (
    ASKED,
    Call,
    Hello,
    Listing,
    Outstanding,
    Subscription,
    is_answer,
    is_here,
)
from sidecar.session.pages import Place
from sidecar.session.reading import LARGE, READ_SECONDS, Read, Reader
from sidecar.session.route import Send
from sidecar.session.state import State
from sidecar.system import defects, tasks
from sidecar.system.flow import Valve
from sidecar.system.memory import WEIGHT, Share
from sidecar.upstream.link import Said, read

MAX_ANSWERED: Final = 1_000
"""Answers of one session that may be seen again, because a stream that broke is replayed."""

Among: TypeAlias = Collection[Id] | None
"""The requests that a stream may answer; None where it may answer any."""
Deliver: TypeAlias = Callable[[Outgoing | None], None]
"""Gets what becomes of one message of the server, once: what the client is sent, or None when it goes no further."""
Announce: TypeAlias = Callable[[Message], None]
"""Gets what the server says unasked."""


class FromServer:
    """One direction of a session: from the server to the client. `resumable` where a stream may be replayed.

    `reader` also filters large lists.
    """

    def __init__(self, state: State, announce: Announce, reader: Reader, *, resumable: bool) -> None:
        self._state = state
        self._requests = state.requests
        self._gate = state.gate
        self._announce = announce
        self._reader = reader
        self._filtering = tasks.Group()
        self._unshown = 0
        """Lists that came and were not shown yet."""
        self._all_shown = Valve()
        # Whether each was a list once, where answers may come again.
        self._answered: OrderedDict[Id, bool] | None = OrderedDict() if resumable else None
        self._announces_tools = False

    def take(
        self, said: Said | Read, deliver: Deliver | None = None, *, among: Among = None, replayed: bool = False
    ) -> None:  # fmt: skip
        """Forward one message of the server, or a batch, or drop it.

        `deliver` gets what becomes of it, where the stream that it came on is not the way of its request; `among` are
        the requests that this stream may answer, where not any; `replayed` says that it brings again what may have
        come before.
        """
        try:
            message = jsonrpc.read(said) if type(said) is bytes else said() if callable(said) else read(said)
            if type(message) is Response:  # most are
                self._response(message, deliver, among, replayed)
            elif isinstance(message, Batch):
                self._batch(message, deliver, among, replayed)
            else:
                self._one(message, deliver, among, replayed)
        except InvalidMessage as problem:
            self._unreadable(problem, deliver, among)
        except Exception as error:  # noqa: BLE001 - it ends this message, whatever it is
            defects.tell("a message of the server is dropped", error)
            if deliver is not None:
                deliver(None)

    @property
    def is_showing(self) -> bool:
        """True while the client will be shown a list that came."""
        return self._unshown > 0

    async def caught_up(self) -> None:
        """Wait until every list that came is shown, for `READ_SECONDS` at the most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READ_SECONDS):
                await self._all_shown.passed()

    def tools_changed(self) -> None:
        """Another policy is in force: a client that listens for it is told to list the tools again."""
        if self._announces_tools:
            self._announce(tool_list.tools_changed())
        for id_, one in self._requests.waiting():
            if isinstance(one, Subscription) and one.tools:
                self._announce(tool_list.tools_changed(id_))

    def _batch(self, batch: Batch, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if self._state.revision not in protocol.WITH_BATCHES:
            raise InvalidMessage(INVALID_REQUEST, "this revision has no batches")
        add = Joint(len(batch.elements), deliver).add if deliver is not None else None
        for one in batch.elements:
            try:
                if isinstance(one, InvalidMessage):
                    raise one
                self._one(one, add, among, replayed)
            except InvalidMessage as problem:
                self._unreadable(problem, add, among)

    def _one(self, message: Message, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if isinstance(message, Response):
            self._response(message, deliver, among, replayed)
        elif isinstance(message, Request):
            self._request(message, deliver, replayed)
        else:
            if message.method == tool_list.TOOLS_LIST_CHANGED:
                self._state.pages.changed()
            self._say(message, deliver)

    def _say(self, message: Message, deliver: Deliver | None) -> None:
        if deliver is not None:
            deliver(message)
        else:
            self._announce(message)

    def _drop(self, reason: str, deliver: Deliver | None) -> None:
        self._state.emit(Dropped(self._state.server, "server", reason))
        if deliver is not None:
            deliver(None)

    def _request(self, request: Request, deliver: Deliver | None, replayed: bool) -> None:
        asked = self._state.asked_of_client
        if asked.is_taken(request.id):
            if not replayed:
                self._drop("a request whose id is taken", deliver)
                return
        elif asked.is_full:
            self._drop("one request too many", deliver)
            return
        else:
            asked.open(request.id, ASKED)
        self._say(request, deliver)

    # Answers.

    def _response(self, response: Response, deliver: Deliver | None, among: Among, replayed: bool) -> None:
        if response.id is None:
            # An error about a message that the server could not read: it answers no request of ours.
            self._say(response, deliver)
            return
        if among is not None and response.id not in among:
            # Clients exist that take whatever comes down the answer to a request for the answer to it.
            self._drop("an answer to another request than the one that it came down the answer of", deliver)
            return
        waiting = self._requests.close(response.id)
        if waiting is None:
            self._stray(response, deliver, replayed)
            return
        if is_here(waiting):
            self._requests.open(response.id, waiting)
            self._drop("an answer to a call that it did not get", deliver)
            return
        if self._answered is not None:
            self._remember(response.id, self._answered, is_list=type(waiting) is Listing)
        to_client = deliver or waiting.route.to_client
        try:
            self._answer(waiting, response, to_client)
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever, whatever it is
            to_client(_refusal(response, error))

    def _answer(self, waiting: Outstanding, response: Response, to_client: Send) -> None:
        """The answer to a request that waits for it: settle that, and pass it on."""
        if type(waiting) is Call:
            assert waiting.forward is not None  # or it would be here
            is_list = tool_list.looks_like_list(response)
            show = partial(self._filter, response, to_client) if is_list else partial(to_client, response)
            self._gate.settle(waiting.forward, tool_call.outcome(response), show)
            return
        self._state.emit(UpstreamAnswered(self._state.server))
        if type(waiting) is Listing and response.error is None:
            self._list(response, to_client, waiting.place)
            return
        if type(waiting) is Hello:
            self._announces_tools = tool_list.can_announce_tools(response)
            self._state.revision = protocol.agreed_revision(response)
        self._show(response, to_client)

    def _stray(self, response: Response, deliver: Deliver | None, replayed: bool) -> None:
        """An answer that nothing waits for: dropped, unless it was settled before and is replayed."""
        if not replayed or self._answered is None:
            self._drop("an answer that no request waits for", deliver)
            return
        was_list = self._answered.get(response.id) if response.id is not None else None
        to_client = deliver or self._state.route.to_client
        if was_list is None:
            self._drop("an answer that no request waited for", deliver)
        elif was_list and response.error is None:
            self._list(response, to_client, None)
        else:
            self._show(response, to_client)

    @staticmethod
    def _remember(id_: Id, answered: OrderedDict[Id, bool], *, is_list: bool) -> None:
        # The same id may be used again, and either answer may come again: what was a list stays one.
        answered[id_] = answered.pop(id_, False) or is_list
        if len(answered) > MAX_ANSWERED:
            answered.popitem(last=False)

    # What the client may see of them.

    def _list(self, response: Response, to_client: Send, place: Place | None) -> None:
        """The answer to a request for tools: note them, and show the client what it may see."""
        # No call can have a longer name, and names are kept: a server must not fill our memory with them.
        tools = [tool for tool in tool_list.listed_tools(response) if len(tool) <= tool_call.MAX_TOOL_NAME]
        self._state.emit(self._listed(response, tools, place))
        wanted = frozenset(filter(self._gate.wants_definition, tools))
        if not wanted:
            self._filter(response, to_client)
        elif len(response.raw) > LARGE:
            self._count_unshown(1)
            self._filtering.start(self._note_definitions(response, wanted, to_client))
        else:
            self._saw(definition.digests(response, wanted))
            self._filter(response, to_client)

    def _listed(self, response: Response, tools: list[str], place: Place | None) -> Listed:
        """What is known of the list by this answer: all of it, one of its pages, or tools of whichever list."""
        answer = response.result if type(response.result) is dict else {}
        definitions, cursor = answer.get("tools"), answer.get("nextCursor")
        if type(definitions) is not list:
            return Listed(self._state.server, tools, whole=False)
        follows = self._state.pages.answered(place, cursor)
        listed = partial(Listed, self._state.server, tools, definitions=definitions)
        if place is not None and place.page == 1 and cursor is None:
            return listed(whole=True)
        if follows is None:
            return listed(whole=False)
        return listed(whole=False, walk=follows.walk, page=follows.page, last=cursor is None)

    def _saw(self, digests: dict[str, str]) -> None:
        for tool, digest in digests.items():
            self._gate.saw(tool, digest)

    async def _note_definitions(self, response: Response, wanted: frozenset[str], to_client: Send) -> None:
        """Note the definitions in a large list before the client is shown it, and can call by it."""
        try:
            self._saw(await self._reader.run(lambda: definition.digests(response, wanted), self._state.whose))
            self._filter(response, to_client)
        except Exception as error:  # noqa: BLE001 - the client must not wait for ever, whatever it is
            to_client(_refusal(response, error))
        finally:
            self._count_unshown(-1)

    def _show(self, response: Response, to_client: Send) -> None:
        """Give the client an answer to anything else.

        What looks like a list of tools is shown as one, whatever was asked: clients exist that do not look at the id
        of what comes down the answer to a request, and a result may be told by another request.
        """
        if tool_list.looks_like_list(response):
            self._filter(response, to_client)
        else:
            to_client(response)

    def _filter(self, response: Response, to_client: Send) -> None:
        if not self._gate.filters:
            to_client(response)
            return
        tools = tool_list.listed_tools(response)
        self._count_unshown(1)
        held = Share(self._reader.room, WEIGHT * len(response.raw))

        def show(hidden: frozenset[str] | None) -> None:
            held.hold(0)
            self._show_filtered(response, hidden, to_client)

        self._gate.filter(tools, show)

    def _show_filtered(self, response: Response, hidden: frozenset[str] | None, to_client: Send) -> None:
        async def show() -> None:
            try:
                shown = await self._reader.run(lambda: _filtered(response, hidden), self._state.whose)
            except Exception as error:  # noqa: BLE001 - the client must not wait for ever, whatever it is
                shown = _refusal(response, error)
            try:
                to_client(shown)
            finally:
                self._count_unshown(-1)

        if len(response.raw) > LARGE:
            self._filtering.start(show())
            return
        try:
            to_client(_filtered(response, hidden))
        finally:
            self._count_unshown(-1)

    def _count_unshown(self, more: int) -> None:
        self._unshown += more
        self._all_shown.close(self._unshown > 0)

    # What cannot be read.

    def _unreadable(self, problem: InvalidMessage, deliver: Deliver | None, among: Among) -> None:
        state = self._state
        state.emit(Dropped(state.server, "server", str(problem)))
        reply = None
        if problem.id is not None:
            if is_answer(problem, self._requests):
                # Its answer came and cannot be passed on: the client must not wait for another.
                if among is None or problem.id in among:
                    text = f"the server's answer cannot be passed on: {problem}"
                    reply = self._requests.lost(problem.id, text)
                    if reply is not None:
                        state.emit(UpstreamFailed(state.server, "unreadable", 0, text))
            elif not state.asked_of_client.is_taken(problem.id):
                # A request of the server, with an id of its own: nobody else will answer it.
                state.route.to_server(jsonrpc.error(problem.id, problem.code, str(problem)))
        if deliver is not None:
            deliver(reply[1] if reply else None)
        elif reply is not None:
            reply[0].to_client(reply[1])


def _refusal(response: Response, error: Exception) -> Response:
    """What the client hears instead of an answer, because of a defect of ours, once that is told."""
    return jsonrpc.error(response.id, INTERNAL_ERROR, defects.text(defects.tell("one message is refused", error)))


def _filtered(response: Response, hidden: frozenset[str] | None) -> Response:
    if hidden is None:
        return jsonrpc.error(response.id, INTERNAL_ERROR, "the list of tools could not be filtered")
    try:
        return tool_list.filtered(response, hidden)
    except ValueError as problem:
        return jsonrpc.error(response.id, INTERNAL_ERROR, str(problem))
