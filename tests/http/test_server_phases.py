"""A client's connection under any order of events: its phase is always one that fits, each request is handed on once,
answers come in order, and what was held is let go of."""

from __future__ import annotations

import itertools
import re
from collections.abc import Awaitable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sidecar.http.server import Exchange, HttpServer, Limits
from sidecar.http.server_connection import Phase, ServerConnection
from sidecar.http.values import Headers, Request, Response
from sidecar.system.memory import MemoryBudget
from tests.http.fakes import PlayedLoop, PlayedTransport
from tests.support.fuzzing import examples

LIMITS = Limits(connections=3, head=2000, fields=20, body=500)
PICK = st.integers(0, 1 << 16)
ASKS = {
    "get": b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    "head": b"HEAD /%d HTTP/1.1\r\nHost: a\r\n\r\n",
    "post": b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "expects": b"POST /%d HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
    "last": b"GET /%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "too long": b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 600\r\n\r\n" + b"x" * 600,
    "far too long": b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 6000\r\n\r\nx",
    "waits": b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Admit: later\r\n\r\n",
    "waits with a body": b"POST /%d HTTP/1.1\r\nHost: a\r\nX-Admit: later\r\nContent-Length: 5\r\n\r\nhello",
    "refused": b"GET /%d HTTP/1.1\r\nHost: a\r\nX-Admit: no\r\n\r\n",
    "refused with a body": b"POST /%d HTTP/1.1\r\nHost: a\r\nX-Admit: no\r\nContent-Length: 5\r\n\r\nhello",
    "bad": b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
}


class Client(PlayedTransport):
    """The client's end of one connection."""

    def __init__(self, loop: PlayedLoop, connection: ServerConnection) -> None:
        self.connection = connection
        self.unsaid: list[bytes] = []
        super().__init__(loop, connection)

    def is_stuck(self, size: int) -> None:
        """Take nothing more."""
        if not self.buffered and not self.over:
            self.buffered = size
            self._loop.do(self.connection.pause_writing)

    def takes(self) -> None:
        """Take all that was written."""
        if self.buffered:
            self.buffered = 0
            if self.closing:
                self.close()
            if not self.over:
                self._loop.do(self.connection.resume_writing)
            self._loop.do()

    @property
    def statuses(self) -> list[int]:
        """Of all answers that were written, without interim ones."""
        return [int(found) for found in re.findall(rb"HTTP/1\.1 ([2-5][0-9]{2}) ", self.written)]

    @property
    def answered(self) -> list[int]:
        """Which requests were answered by the handler."""
        return [int(found) for found in re.findall(rb"x-number: ([0-9]+)\r\n", self.written)]


class ServerPhases(RuleBasedStateMachine):
    """Some clients that say whatever they like, and a handler that answers when it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = PlayedLoop()
        self.numbers = itertools.count()
        self.clients: list[Client] = []
        self.handed_on: list[int] = []
        self.open: list[tuple[int, Exchange]] = []
        self.left: list[int] = []
        self.finished: set[int] = set()
        self.admissions: list[Any] = []
        self.at_once = False
        self.server = HttpServer(self._handle, LIMITS, self._admit, lambda exchange, error: None, MemoryBudget(1 << 28))

    def _handle(self, request: Request, exchange: Exchange) -> None:
        number = int(request.path[1:])
        assert number not in self.handed_on
        self.handed_on.append(number)
        exchange.keep()
        exchange.on_gone(lambda: self.left.append(number))
        if self.at_once:
            self._answer(number, exchange, "send")
        else:
            self.open.append((number, exchange))

    def _admit(self, method: str, target: str, headers: Headers) -> Response | None | Any:
        match headers.get("x-admit"):
            case "later":
                answer = self.loop.create_future()
                self.admissions.append(answer)
                return self._found_out(answer)
            case "no":
                return Response(403)
            case _:
                return None

    async def _found_out(self, answer: Awaitable[Response | None]) -> Response | None:
        return await answer

    # Clients.

    @precondition(lambda self: len(self.clients) < 8)
    @rule()
    def connect(self) -> None:
        self.loop.do(lambda: self.clients.append(Client(self.loop, ServerConnection(self.server, self.loop))))

    def _client(self, which: int) -> Client | None:
        there = [client for client in self.clients if not client.over]
        return there[which % len(there)] if there else None

    @rule(which=PICK, kinds=st.lists(st.sampled_from(list(ASKS)), min_size=1, max_size=3),
          cuts=st.lists(PICK, max_size=3), at_once=st.booleans())  # fmt: skip
    def ask(self, which: int, kinds: list[str], cuts: list[int], at_once: bool) -> None:
        client = self._client(which)
        if client is None:
            return
        self.at_once = at_once
        if not client.unsaid:
            said = b"".join(ASKS[kind] % next(self.numbers) for kind in kinds)
            ends = sorted({cut % len(said) for cut in cuts} | {0, len(said)})
            client.unsaid = [said[start:end] for start, end in itertools.pairwise(ends)]
        client.comes(client.unsaid.pop(0))

    @rule(which=PICK)
    def go_on(self, which: int) -> None:
        client = self._client(which)
        while client is not None and client.unsaid:
            client.comes(client.unsaid.pop(0))

    @rule(which=PICK, way=st.sampled_from(["end", "break"]))
    def leave(self, which: int, way: str) -> None:
        client = self._client(which)
        if client is not None:
            client.ends() if way == "end" else client.breaks()

    @rule(which=PICK, stuck=st.booleans())
    def take_answers_or_not(self, which: int, stuck: bool) -> None:
        client = self._client(which)
        if client is not None:
            client.is_stuck(1000) if stuck else client.takes()

    # What the server's other parts do.

    def _answer(self, number: int, exchange: Exchange, way: str) -> None:
        if not exchange.gone:
            self.finished.add(number)
        match way:
            case "send":
                exchange.send(Response(200, (("x-number", str(number)),), b"hello"))
            case "stream":
                exchange.start(200, (("x-number", str(number)),))
                if not exchange.gone:
                    exchange.write_now(b"hello")
                exchange.end()
            case "abort":
                exchange.abort()
            case _:
                exchange.failed(LookupError("a defect"))

    @precondition(lambda self: self.open)
    @rule(which=PICK, way=st.sampled_from(["send", "send", "stream", "abort", "fail"]), at_once=st.booleans())
    def answer(self, which: int, way: str, at_once: bool) -> None:
        self.at_once = at_once
        number, exchange = self.open.pop(which % len(self.open))
        self.loop.do(lambda: self._answer(number, exchange, way))

    @precondition(lambda self: self.admissions)
    @rule(admitted=st.booleans())
    def find_out(self, admitted: bool) -> None:
        answer = self.admissions.pop()
        if not answer.done():
            self.loop.do(lambda: answer.set_result(None if admitted else Response(401)))

    @rule(room=st.sampled_from([1 << 28, 1 << 28, 100, 0]))
    def others_hold_much_or_not(self, room: int) -> None:
        self.server.room.limit = room

    @rule(seconds=st.sampled_from([1, 8, 61]))
    def wait(self, seconds: float) -> None:
        self.loop.wait(seconds)

    @precondition(lambda self: len(self.handed_on) > 3)
    @rule()
    def stop(self) -> None:
        self.loop.do(self.server.stop_accepting)

    # What always holds.

    @invariant()
    def every_phase_fits(self) -> None:
        for client in self.clients:
            connection = client.connection
            phase = connection._phase
            assert (phase is Phase.ANSWER) is (connection._exchange is not None)
            assert (phase is Phase.BODY) is hasattr(connection, "_body")
            assert (phase is Phase.ADMISSION) is (connection._admission is not None)
            assert str(phase) in repr(connection)
            if client.over:
                assert phase is Phase.ENDED
                assert (connection._ahead, connection._waiting, connection._deadline._timer) == (0, 0, None)
            elif phase is not Phase.ANSWER or connection.full:
                assert connection._deadline._at is not None, "nothing bounds how long this takes"
            assert client.answered == sorted(set(client.answered))
            assert not client.ended or phase in (Phase.REFUSED, Phase.ENDED)
        assert set(self.handed_on) >= {number for client in self.clients for number in client.answered}
        assert len(self.left) == len(set(self.left))
        assert not self.finished.intersection(self.left)
        assert self.loop.defects == []

    def teardown(self) -> None:
        for client in self.clients:
            client.breaks()
        for number, exchange in self.open:
            self.loop.do(lambda number=number, exchange=exchange: self._answer(number, exchange, "send"))  # type: ignore[misc] # mypy reads no such lambda
        self.every_phase_fits()
        assert (self.server.room.taken, self.server.active, self.server._connections) == (0, 0, {})
        self.loop.close()


@pytest.mark.fuzz
def test_a_clients_connection_has_a_phase_that_fits_whatever_happens() -> None:
    run_state_machine_as_test(ServerPhases, settings=examples(60))


# What the machine seldom meets.


def test_a_request_that_does_not_fit_while_another_is_answered_is_no_answer_to_that_one() -> None:
    world = ServerPhases()
    world.connect()
    (client,) = world.clients
    client.comes(ASKS["get"] % 1)
    world.server.room.limit = 0
    client.comes(ASKS["get"] % 2)
    assert (client.written, client.over, world.left) == (b"", True, [1])
    world.teardown()


def test_a_connection_that_had_to_go_for_its_own_request_does_not_have_it_answered() -> None:
    world = ServerPhases()
    world.connect()
    (client,) = world.clients
    client.comes(ASKS["waits with a body"] % 1)
    # What was written before is not taken yet, and that is what has to go.
    client.is_stuck(1000)
    world.server.room.limit = 1010
    world.find_out(admitted=True)
    assert (world.handed_on, client.over) == ([], True)
    world.teardown()


def test_a_request_is_not_itself_what_has_to_go_for_it() -> None:
    world = ServerPhases()
    world.connect()
    (client,) = world.clients
    head, body = ASKS["post"] % 1, b"GET"
    client.comes(head[:10])
    # There is room for the request, but not beside the part of it that came first.
    world.server.room.limit = 25
    client.comes(head[10:] + body)
    assert (world.handed_on, world.server.cut_off) == ([1], 0)
    world.teardown()


def test_a_client_that_takes_nothing_is_not_waited_for_without_end_though_its_request_is_answered() -> None:
    world = ServerPhases()
    world.connect()
    (client,) = world.clients
    client.comes(ASKS["waits"] % 1)
    client.is_stuck(1000)
    world.find_out(admitted=True)
    assert world.handed_on == [1]
    world.every_phase_fits()
    world.wait(LIMITS.write_seconds)
    assert (client.over, world.left) == (True, [1])
    world.teardown()
