"""A connection to a server under any order of events: its phase is always one that fits, nothing is heard twice, and
it carries a further request only when it is idle and clean."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sidecar.http.client import ClientResponse, HttpClient, PendingRequest
from sidecar.http.client_connection import ClientConnection, Phase
from sidecar.http.client_response import MAX_WAITING
from sidecar.http.origin import Origin
from sidecar.http.values import field_lines
from tests.http.fakes import PlayedLoop, PlayedTransport
from tests.support.fuzzing import examples

IDLE_SECONDS = 2.0
PICK = st.integers(0, 1 << 16)


@dataclass(eq=False)
class Asked:
    """A request, and what was heard of it."""

    number: int
    whose: str
    method: str
    asks_again: bool
    pending: Any = None
    heard: list[Any] = field(default_factory=list)
    given_up: bool = False
    body: bytes | None = None
    """What the server says to it, once that is all said."""


class Wire(PlayedTransport):
    """The server's end of one connection, and what is known of it there."""

    def __init__(self, world: ClientPhases, connection: ClientConnection) -> None:
        self.world = world
        self.connection = connection
        self.carries: Asked | None = None
        self.unsaid: list[bytes] = []
        self.body = b""
        self.dirty = ""
        """Why nothing more may be asked on it."""
        self.free_since: float | None = None
        super().__init__(world.loop, connection)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        super().write(data)
        asked = self.world.asked[int(bytes(data).split(b"x-number: ")[1].split(b"\r\n")[0])]
        assert asked.number not in self.world.sent, "sent twice"
        self.world.sent.add(asked.number)
        assert not self.dirty, self.dirty
        assert self.carries is None
        assert asked.whose == self.connection.whose
        assert self.free_since is None or self.world.loop.now - self.free_since < IDLE_SECONDS
        self.carries = asked

    def say(self) -> None:
        """Say the next piece of a response."""
        piece = self.unsaid.pop(0)
        carries = self.carries
        if not self.unsaid:
            self.said_all()
        if carries is None:
            self.dirty = self.dirty or "it spoke unasked"
        self.comes(piece)

    def said_all(self) -> None:
        if self.carries is not None:
            self.carries.body = self.body
            self.carries = None
            self.free_since = self.world.loop.now
            if self.buffered:
                self.dirty = "the request was not all written"


KINDS: dict[str, tuple[bytes, Callable[[bytes], bytes], bool]] = {
    "length": (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", lambda body: body, True),
    "chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        lambda body: b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), True,
    ),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", lambda body: body, True),
    "close": (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", lambda body: body, False),
    "1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n", lambda body: body, False),
}  # fmt: skip
BAD = (b"hello\r\n\r\n", b"HTTP/1.1 101 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\0")


class ClientPhases(RuleBasedStateMachine):
    """Requests of two clients, and a server that says whatever it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = PlayedLoop()
        self.wires: list[Wire] = []
        self.asked: list[Asked] = []
        self.sent: set[int] = set()
        self.refuses = False
        self.closed = False
        self.loop.create_connection = self._connect  # type: ignore[method-assign,assignment] # no network
        self.client = HttpClient(Origin(False, "a", 80), idle_seconds=IDLE_SECONDS, connections=4)

    async def _connect(self, make: Callable[[], ClientConnection], *_: Any, **__: Any) -> tuple[Any, ClientConnection]:
        if self.refuses:
            raise ConnectionRefusedError
        connection = make()
        self.wires.append(wire := Wire(self, connection))
        return wire, connection

    # Requests.

    def _ask(self, whose: str, method: str, *, again: bool) -> None:
        asked = Asked(len(self.asked), whose, method, again)
        self.asked.append(asked)
        start = self.client.head(method, "/", field_lines([("x-number", str(asked.number))], frozenset()))
        asked.pending = PendingRequest(lambda one: self._heard(asked, one), lambda one: self._heard(asked, one))
        self.client.ask(start, b"" if method == "GET" else b"body", asked.pending, whose)

    def _heard(self, asked: Asked, what: ClientResponse | Exception) -> None:
        assert not asked.given_up
        assert not asked.heard
        asked.heard.append(what)
        if asked.asks_again:
            self._ask(asked.whose, asked.method, again=False)

    @rule(whose=st.sampled_from("ab"), method=st.sampled_from(["GET", "POST", "HEAD"]), again=st.booleans())
    def ask(self, whose: str, method: str, again: bool) -> None:
        self.loop.do(lambda: self._ask(whose, method, again=again))

    @rule(whose=st.sampled_from("ab"), kind=st.sampled_from(list(KINDS)), more=st.sampled_from([b"", b"", b"x"]))
    def ask_and_respond_at_once(self, whose: str, kind: str, more: bytes) -> None:
        number = len(self.asked)
        self.ask(whose, "POST", again=False)
        for at, wire in enumerate([wire for wire in self.wires if not wire.closing]):
            if wire.carries is not None and wire.carries.number == number:
                self.respond(at, kind, 5, [], more)

    @rule(whose=st.sampled_from("ab"), what=st.sampled_from(["retire", "speak"]))
    def spoil_what_is_idle_and_ask(self, whose: str, what: str) -> None:
        for at, wire in enumerate([wire for wire in self.wires if not wire.closing]):
            if wire.connection._phase is Phase.IDLE and wire.connection.whose == whose:
                if what == "retire":
                    wire.dirty = "it was retired"
                    self.loop.do(wire.connection.retire)
                else:
                    self.speak_and_not_be_heard_yet(at)
        self.ask(whose, "POST", again=False)

    @rule(refuses=st.sampled_from([False, False, False, True]))
    def listens_or_not(self, refuses: bool) -> None:
        self.refuses = refuses

    @precondition(lambda self: self.asked)
    @rule(which=PICK)
    def give_up(self, which: int) -> None:
        asked = self.asked[which % len(self.asked)]
        asked.given_up = asked.given_up or not asked.heard
        self.loop.do(asked.pending.give_up)

    @precondition(lambda self: self.asked)
    @rule(which=PICK, way=st.sampled_from(["abort", "retire", "read", "whole"]))
    def use(self, which: int, way: str) -> None:
        responses = [(asked, one) for asked in self.asked for one in asked.heard if isinstance(one, ClientResponse)]
        if not responses:
            return
        asked, response = responses[which % len(responses)]
        wire: Wire = response._source._transport  # type: ignore[attr-defined] # it is a connection
        if way == "abort":
            self.loop.do(response.abort)
        elif way == "retire":
            wire.dirty = wire.dirty or ("it was retired" if wire.carries is None else "")
            self.loop.do(response.retire)
        elif way == "read":
            body = b"".join(response._take())
            assert self._belongs(asked, body)
        elif (whole := response.whole(1 << 30)) is not None:
            assert isinstance(whole, bytes)
            assert self._belongs(asked, whole)

    def _belongs(self, asked: Asked, body: bytes) -> bool:
        return set(body) <= {ord("a") + asked.number % 26}

    # The server.

    def _wire(self, which: int) -> Wire | None:
        there = [wire for wire in self.wires if not wire.closing]
        return there[which % len(there)] if there else None

    @rule(which=PICK, kind=st.sampled_from(list(KINDS)), size=st.sampled_from([0, 1, 5, MAX_WAITING + 1]),
          cuts=st.lists(PICK, max_size=3), more=st.sampled_from([b"", b"", b"", b"x"]))  # fmt: skip
    def respond(self, which: int, kind: str, size: int, cuts: list[int], more: bytes) -> None:
        wire = self._wire(which)
        if wire is None:
            return
        if not wire.unsaid:
            head, framed, lives_on = KINDS[kind]
            number, method = (wire.carries.number, wire.carries.method) if wire.carries else (25, "GET")
            wire.body = bytes([ord("a") + number % 26]) * size
            said = head % size if b"%" in head else head
            if method == "HEAD":
                wire.body = b""
            else:
                said += framed(wire.body)
            said += more
            if more or not lives_on:
                wire.dirty = wire.dirty or f"{kind} with {more!r} after it"
            ends = sorted({cut % len(said) for cut in cuts} | {0, len(said)})
            wire.unsaid = [said[start:end] for start, end in itertools.pairwise(ends)]
        wire.say()

    @rule(which=PICK)
    def go_on(self, which: int) -> None:
        wire = self._wire(which)
        while wire is not None and wire.unsaid and not wire.closing:
            wire.say()

    @rule(which=PICK, said=st.sampled_from(BAD))
    def speak_badly(self, which: int, said: bytes) -> None:
        wire = self._wire(which)
        if wire is not None and not wire.unsaid:
            wire.dirty = wire.dirty or "it said what is no response"
            wire.comes(said)

    @rule(which=PICK)
    def speak_and_not_be_heard_yet(self, which: int) -> None:
        wire = self._wire(which)
        if wire is not None and wire.connection._phase is Phase.IDLE:
            wire.dirty = "something is there to be read"
            wire.far.send(b"x")

    @rule(which=PICK, way=st.sampled_from(["end", "break"]))
    def end(self, which: int, way: str) -> None:
        wire = self._wire(which)
        if wire is not None:
            wire.dirty = "it ended"
            wire.ends() if way == "end" else wire.breaks()

    @rule(which=PICK, size=st.sampled_from([0, 0, 1]))
    def take_what_is_written_or_not(self, which: int, size: int) -> None:
        wire = self._wire(which)
        if wire is not None:
            wire.buffered = size

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def wait(self, seconds: float) -> None:
        self.loop.wait(seconds)

    # What always holds.

    @invariant()
    def every_phase_fits(self) -> None:
        idle = {one for kept in self.client._idle.values() for one in kept}
        for wire in self.wires:
            connection = wire.connection
            phase = connection._phase
            assert (phase is Phase.WAITING) is (connection._pending is not None)
            assert (phase in (Phase.BODY, Phase.PAUSED)) is (connection._response is not None)
            assert (phase is Phase.CLOSED) is (connection not in self.client._every) is wire.closing
            assert (phase is Phase.IDLE) is (connection in idle)
            if phase is not Phase.CLOSED:
                assert (phase is Phase.PAUSED) is wire.paused
            if phase is Phase.IDLE:
                assert connection._deadline._at is not None
            assert str(phase) in repr(connection)
        assert self.loop.defects == []

    def teardown(self) -> None:
        self.loop.run_until_complete(self.client.close())
        self.loop.do()
        self.every_phase_fits()
        assert [asked for asked in self.asked if len(asked.heard) != (not asked.given_up)] == []
        assert (self.client._every, self.client._idle, self.client._connecting) == (set(), {}, set())
        self.loop.close()


@pytest.mark.fuzz
def test_a_connection_to_a_server_has_a_phase_that_fits_whatever_happens() -> None:
    run_state_machine_as_test(ClientPhases, settings=examples(60))


def test_a_connection_that_ends_as_it_is_made_is_forgotten() -> None:
    world = ClientPhases()

    async def ended(make: Callable[[], ClientConnection], *_: Any, **__: Any) -> tuple[Any, ClientConnection]:
        connection = make()
        wire = Wire(world, connection)
        connection.data_received(b"HTTP/1.1 503 too many\r\n\r\n")
        return wire, connection

    world.loop.create_connection = ended  # type: ignore[method-assign,assignment] # no network
    world.ask("a", "GET", again=False)
    assert [str(problem) for problem in world.asked[0].heard] == ["the connection ended at once"]
    assert world.client._every == set()
    world.teardown()
