"""Questions that wait for an answer travel together: each gets its own, whatever the engine says to the others."""

from __future__ import annotations

import asyncio
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sidecar.engine import client, deadlines
from sidecar.engine.client import ABREAST, CANARY, CONNECTIONS, LATE, PATIENCE, EngineClient
from sidecar.engine.connection import EngineReply
from sidecar.engine.together import MOST, MOST_BYTES
from sidecar.errors import EngineUnavailable
from tests.engine.asking import soon

TIMEOUT: Final = 3600.0


def framed(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Asked:
    """A request as the engine got it, and `held` until it is replied to; the answer to a question is the question."""

    def __init__(self, head: str, body: bytes, writer: asyncio.StreamWriter, held: list[Asked]) -> None:
        self.held = held
        found = json.loads(body)["input"]
        self.together = "/intercept/decisions?" in head
        self.ids = re.findall(r"X-Intercept-Decision: (.*)\r\n", head)[0].split(",")
        self.questions: dict[str, Any] = found["questions"] if self.together else {"0": found}
        self.writer = writer

    def right(self) -> bytes:
        """The reply of an engine that means well."""
        return self.answered(self.questions)

    def answered(self, answers: dict[str, Any]) -> bytes:
        result = answers if self.together else answers["0"]
        return framed(json.dumps({"result": result}, separators=(",", ":")).encode() + b"\n")

    def send(self, data: bytes) -> None:
        if self in self.held:
            self.held.remove(self)
        self.writer.write(data)


class Opa:
    """Holds every request until it is told what to reply."""

    def __init__(self) -> None:
        self.held: list[Asked] = []
        self.seen: list[Asked] = []
        self.open = 0
        self.most_open = 0
        self.at_once: Callable[[Asked], bytes | None] = lambda _: None

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                body = await reader.readexactly(int(re.findall(r"Content-Length: (\d+)", head)[0]))
                asked = Asked(head, body, writer, self.held)
                self.seen.append(asked)
                if (data := self.at_once(asked)) is None:
                    self.held.append(asked)
                elif data:
                    writer.write(data)
                else:
                    writer.close()
        self.held[:] = [asked for asked in self.held if asked.writer is not writer]
        self.open -= 1
        writer.close()


class World:
    """A client, the engine that it asks, and what became of each question."""

    def __init__(self, asker: EngineClient, opa: Opa) -> None:
        self.asker = asker
        self.opa = opa
        self.replies: dict[int, list[EngineReply]] = {}

    def put(self, *, size: int = 0, decision_id: str | None = None) -> int:
        """Put the next question, whose answer is a text that begins with its number."""
        number = len(self.replies)
        self.replies[number] = []
        body = json.dumps({"input": f"{number}:{'x' * size}"}, separators=(",", ":")).encode()
        self.asker.put(body, decision_id or f"id{number}", self.replies[number].append)
        return number

    def answered(self) -> bool:
        return all(self.replies.values())

    def right(self, number: int) -> bool:
        """True if the only thing that a question got is its own answer."""
        return [isinstance(one, bytes) and json.loads(one)["result"].partition(":")[0] == str(number)
                for one in self.replies[number]] == [True]  # fmt: skip


@asynccontextmanager
async def world(timeout: float = TIMEOUT) -> AsyncIterator[World]:
    opa = Opa()
    with tempfile.TemporaryDirectory(prefix="asked-") as folder:
        path = str(Path(folder) / "s")
        server = await asyncio.start_unix_server(opa.connected, path, backlog=1000)
        asker = EngineClient(path, timeout, lambda: None)
        try:
            yield World(asker, opa)
        finally:
            asker.close()
            server.close()
            await soon(lambda: opa.open == 0)


async def kept_busy(here: World) -> list[Asked]:
    """As many requests as there may be before questions wait, which the engine has not replied to."""
    for already in range(ABREAST):
        here.put()
        await soon(lambda: len(here.opa.held) == already + 1)  # noqa: B023 - used before the next turn
    return list(here.opa.held)


async def held_back(here: World, count: int, monkeypatch: pytest.MonkeyPatch) -> list[Asked]:
    """Keep the engine busy, then put so many questions, which wait however long it takes."""
    monkeypatch.setattr(client, "PATIENCE", TIMEOUT)
    busy = await kept_busy(here)
    for _ in range(count):
        here.put()
    return busy


class Clock:
    """The time as the client sees it: it passes when a test says so."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        for module in (client, deadlines):
            patch.setattr(module, "monotonic", lambda: self.now)

    def passes(self, here: World, seconds: float) -> None:
        """So much time is over, and the client looks at what that means."""
        self.now += seconds
        here.asker._lose_patience()
        for watched in (here.asker._travelling, here.asker._questions):
            for _ in range(2):  # nothing is late at the first look
                watched._look()


async def flooded(here: World, clock: Clock) -> None:
    """Ask far more than an engine that says nothing may be asked at once."""
    for _ in range(2 * CONNECTIONS * MOST):
        here.put()
    await soon(lambda: len(here.opa.held) == ABREAST)
    while (before := len(here.opa.held)) < CONNECTIONS:
        clock.passes(here, PATIENCE)
        await soon(lambda: len(here.opa.held) == min(CONNECTIONS, ABREAST + before))


async def answered_at_last(here: World) -> None:
    """The engine answers all that it was asked, and whatever comes."""
    here.opa.at_once = Asked.right
    for one in here.opa.held[:]:
        one.send(one.right())
    await soon(here.answered)


def test_one_caller_asks_one_question_at_a_time_over_one_connection() -> None:
    async def test() -> None:
        async with world() as here:
            here.opa.at_once = Asked.right
            for _ in range(50):
                number = here.put()
                await soon(here.answered)
                assert here.right(number)
            assert not [asked for asked in here.opa.seen if asked.together]
            assert here.opa.most_open == 1

    uvloop.run(test())


def test_what_comes_while_the_engine_is_busy_is_one_request_with_the_ids_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        async with world() as here:
            busy = await held_back(here, 5, monkeypatch)
            assert len(here.opa.seen) == ABREAST
            busy[0].send(busy[0].right())
            await soon(lambda: len(here.opa.seen) == ABREAST + 1)
            asked = here.opa.seen[-1]
            assert asked.together
            assert asked.ids == [f"id{number}" for number in range(ABREAST, ABREAST + 5)]
            assert [text.partition(":")[0] for text in asked.questions.values()] == [one[2:] for one in asked.ids]
            for one in here.opa.held[:]:
                one.send(one.right())
            await soon(here.answered)
            assert all(map(here.right, here.replies))

    uvloop.run(test())


def test_a_request_has_so_many_questions_and_so_many_bytes_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with world() as here:
            busy = await held_back(here, 3 * MOST, monkeypatch)
            for size in (MOST_BYTES, 10, MOST_BYTES // 2, MOST_BYTES // 2, 10):
                here.put(size=size)
            here.opa.at_once = Asked.right
            for one in busy:
                one.send(one.right())
            await soon(here.answered)
            assert all(map(here.right, here.replies))
            for asked in here.opa.seen:
                assert len(asked.questions) <= MOST
                assert len(asked.questions) == 1 or sum(map(len, asked.questions.values())) < MOST_BYTES
            assert max(len(asked.questions) for asked in here.opa.seen) == MOST

    uvloop.run(test())


def test_a_slow_answer_holds_up_no_other_question_for_longer_than_a_moment() -> None:
    async def test() -> None:
        async with world() as here:
            await kept_busy(here)
            here.opa.at_once = Asked.right
            quick = [here.put() for _ in range(10)]
            await soon(lambda: all(here.replies[number] for number in quick))
            assert all(map(here.right, quick))
            assert not [here.replies[number] for number in range(ABREAST) if here.replies[number]]

    uvloop.run(test())


def test_what_goes_beside_slow_requests_waits_a_moment_for_others_to_go_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        async with world() as here:
            await kept_busy(here)
            first = here.put()
            clock.passes(here, PATIENCE)
            await soon(lambda: len(here.opa.held) == ABREAST + 1)
            here.opa.held[-1].send(here.opa.held[-1].right())
            await soon(lambda: here.replies[first])  # its connection is free
            others = [here.put() for _ in range(3)]
            clock.passes(here, PATIENCE)
            await soon(lambda: len(here.opa.held) == ABREAST + 1)
            assert here.opa.seen[-1].ids == [f"id{number}" for number in others]
            await answered_at_last(here)
            assert all(map(here.right, here.replies))

    uvloop.run(test())


def test_what_waits_too_long_ends_here_and_costs_the_engine_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        async with world() as here:
            await flooded(here, clock)
            clock.passes(here, PATIENCE)
            late = here.put()  # it has as much time more than the others
            clock.now += TIMEOUT - PATIENCE
            for _ in range(2):
                here.asker._questions._look()
            assert len(here.opa.seen) == CONNECTIONS
            assert [number for number, replies in here.replies.items() if not replies] == [late]
            assert {(error.kind, str(error)) for replies in here.replies.values() for error in replies
                    if isinstance(error, EngineUnavailable)} == {
                ("timeout", "the policy engine did not answer in 3600000 ms")
            }  # fmt: skip
            await answered_at_last(here)
            assert here.right(late)

    uvloop.run(test())


def test_where_more_is_asked_than_can_be_answered_the_newest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        async with world() as here:
            busy = await held_back(here, MOST, monkeypatch)
            clock.now += LATE * TIMEOUT + 1
            newest = here.put()
            busy[0].send(busy[0].right())
            await soon(lambda: len(here.opa.seen) == ABREAST + 1)
            assert here.opa.seen[-1].ids[:2] == [f"id{newest}", f"id{newest - 1}"]
            clock.passes(here, 0.2 * TIMEOUT)  # the older ones have no time to lose
            await soon(lambda: len(here.opa.seen) == ABREAST + 2)
            await answered_at_last(here)
            assert all(map(here.right, here.replies))

    uvloop.run(test())


def test_several_that_take_too_long_are_asked_alone_only_as_far_as_there_is_room_and_then_fewer_travel_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        async with world() as here:
            busy = await held_back(here, 5 * MOST, monkeypatch)
            busy[0].send(busy[0].right())
            await soon(lambda: len(here.opa.seen) == ABREAST + 1)
            assert len(here.opa.seen[-1].questions) == MOST
            clock.now += 0.6 * TIMEOUT
            for _ in range(2):
                here.asker._travelling._look()
            await soon(lambda: len(here.opa.seen) == ABREAST + 2)
            assert not here.opa.seen[-1].together
            await soon(lambda: len(here.opa.held) == ABREAST)
            await answered_at_last(here)
            assert all(map(here.right, here.replies))
            first, *others = (len(asked.questions) for asked in here.opa.seen[ABREAST + 1 :] if asked.together)
            assert first == MOST // 2 < max(others)

    uvloop.run(test())


def test_a_canary_waits_for_no_other_question_and_takes_no_place_of_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        clock = Clock(monkeypatch)
        async with world() as here:
            await flooded(here, clock)
            canaries = [here.put(decision_id=CANARY) for _ in range(2)]
            for already, canary in enumerate(canaries):
                await soon(lambda: len(here.opa.held) == CONNECTIONS + 1)
                assert [asked.ids for asked in here.opa.seen[CONNECTIONS:]] == [[CANARY]] * (already + 1)
                here.opa.held[-1].send(here.opa.held[-1].right())
                await soon(lambda: here.replies[canary])  # noqa: B023 - used before the next turn
                assert here.right(canary)
            clock.passes(here, PATIENCE)  # no other question takes the connection that is free now
            here.put(decision_id=CANARY)
            await soon(lambda: len(here.opa.seen) == CONNECTIONS + 3)
            assert [asked.ids for asked in here.opa.seen[CONNECTIONS:]] == [[CANARY]] * 3
            assert here.opa.most_open == CONNECTIONS + 1
            await answered_at_last(here)

    uvloop.run(test())


SHIFTED = "shifted"


def lies(kind: str, asked: Asked) -> bytes | None:
    """What an engine may say to several questions instead of the truth; None is nothing, for as long as it takes."""
    right = asked.questions
    texts: dict[str, Callable[[], bytes | None]] = {
        "error": lambda: asked.right().replace(b"200 OK", b"500 Internal Server Error"),
        "forbidden": lambda: asked.right().replace(b"200 OK", b"401 Unauthorized"),
        "closed": lambda: b"",
        "cut": lambda: asked.right()[:-3],
        "twice": lambda: asked.right() * 2,
        "nothing": lambda: asked.answered({}),
        "first missing": lambda: asked.answered({at: text for at, text in right.items() if at != "0"}),
        SHIFTED: lambda: asked.answered({str(int(at) + 1): text for at, text in right.items()}),
        "foreign": lambda: asked.answered({**right, "99": right["0"]}),
        "doubled": lambda: framed(b'{"result":{"0":"1:","0":"2:","1":"1:"}}'),
        "a list": lambda: framed(json.dumps({"result": list(right.values())}).encode()),
        "no json": lambda: framed(b"garbage"),
        "silence": lambda: None,
    }
    return texts[kind]()


LIES: Final = [
    "error", "forbidden", "closed", "cut", "twice", "nothing", "first missing", SHIFTED, "foreign", "doubled",
    "a list", "no json",
]  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in LIES if kind != "cut"])
def test_where_the_reply_to_several_is_none_each_is_asked_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with world() as here:
            busy = await held_back(here, 2 * MOST, monkeypatch)
            here.opa.at_once = lambda asked: lies(kind, asked) if asked.together else asked.right()
            for one in busy:
                one.send(one.right())
            await soon(here.answered)
            assert all(map(here.right, here.replies))
            asked_for = Counter(text for asked in here.opa.seen for text in asked.questions.values())
            assert max(asked_for.values()) <= 2

    uvloop.run(test())


def test_where_one_makes_several_time_out_the_others_get_their_answers() -> None:
    async def test() -> None:
        async with world(timeout=2.0) as here:
            here.opa.at_once = lambda asked: None if "7:" in asked.questions.values() else asked.right()
            for _ in range(3 * MOST):
                here.put()
            await soon(here.answered)
            assert [number for number in here.replies if not here.right(number)] == [7]
            (failure,) = here.replies[7]
            assert isinstance(failure, EngineUnavailable)
            assert failure.kind == "timeout"
            await soon(lambda: not here.asker._busy)  # what holds up the engine is dropped

    uvloop.run(test())


def test_an_engine_that_dies_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with world() as here:
            await held_back(here, 3 * MOST, monkeypatch)
            os.unlink(here.asker._socket)  # noqa: PTH108 - pathlib's way is said to block
            for one in here.opa.held[:]:
                one.writer.transport.abort()
            await soon(here.answered)
            assert {reply.kind for (reply,) in here.replies.values() if isinstance(reply, EngineUnavailable)} == {
                "connection"
            }

    uvloop.run(test())


def test_an_answer_that_nobody_can_take_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test() -> None:
        async with world() as here:
            busy = await held_back(here, 1, monkeypatch)

            def fail(_: EngineReply) -> None:
                raise ZeroDivisionError

            here.asker.put(b'{"input":"x:"}', "id", fail)
            last = here.put()
            here.opa.at_once = Asked.right
            for one in busy:
                one.send(one.right())
            await soon(here.answered)
            assert here.right(last)

    uvloop.run(test())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(1, 80), st.lists(st.sampled_from([*LIES, "right", "right"]), min_size=1, max_size=6))
def test_whatever_an_engine_says_to_several_nobody_gets_the_answer_to_another_question(
    count: int, kinds: list[str]
) -> None:
    async def test() -> None:
        async with world(timeout=20.0) as here:
            turns = iter(range(1 << 20))

            def at_once(asked: Asked) -> bytes | None:
                kind = kinds[next(turns) % len(kinds)] if asked.together else "right"
                # What is cut off would be waited for: here the connection ends instead.
                return asked.right() if kind == "right" else lies("closed" if kind == "cut" else kind, asked)

            here.opa.at_once = at_once
            for _ in range(count):
                here.put()
            await soon(here.answered)
            assert all(map(here.right, here.replies))

    uvloop.run(test())


class Travelling(RuleBasedStateMachine):
    """The client under any order of questions, replies, losses and time; the engine holds what it got until told."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.clock = Clock(self.patch)
        self.runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self.context = world()
        self.here = self.runner.run(self.context.__aenter__())
        self.spoiled = False  # whether something was done for which a question may get an error

    def settle(self) -> None:
        """Let everything happen that is under way: a few passes of the event loop for both ends."""

        async def pause() -> None:
            for _ in range(6):
                await asyncio.sleep(0)
                await asyncio.sleep(0.0002)

        self.runner.run(pause())

    @rule(count=st.integers(1, 3 * MOST), size=st.sampled_from([0, 0, 0, 500, MOST_BYTES]))
    def put(self, count: int, size: int) -> None:
        async def put() -> None:
            for _ in range(count):
                self.here.put(size=size)

        if len(self.here.replies) < 400:
            self.runner.run(put())
            self.settle()

    @rule()
    def put_canary(self) -> None:
        async def put() -> None:
            self.here.put(decision_id=CANARY)

        self.runner.run(put())
        self.settle()

    @precondition(lambda self: self.here.opa.held)
    @rule(at=st.integers(0, 99), kind=st.sampled_from(["right", "right", "right", *LIES]))
    def reply(self, at: int, kind: str) -> None:
        held = self.here.opa.held
        asked = held.pop(at % len(held))
        if not asked.together and kind != "right":
            kind, self.spoiled = "error", True

        async def send() -> None:
            data = asked.right() if kind == "right" else lies(kind, asked)
            if data:
                asked.send(data)
            if not data or kind == "cut":
                asked.writer.close()

        self.runner.run(send())
        self.settle()

    @rule(seconds=st.sampled_from([PATIENCE, TIMEOUT / 4, TIMEOUT / 2, TIMEOUT]))
    def time_passes(self, seconds: float) -> None:
        self.spoiled = self.spoiled or seconds > PATIENCE

        async def look() -> None:
            self.clock.passes(self.here, seconds)

        self.runner.run(look())
        self.settle()

    @invariant()
    def each_has_its_own_answer_or_an_error_and_one_of_them(self) -> None:
        for number, replies in self.here.replies.items():
            assert len(replies) <= 1
            if replies and isinstance(replies[0], bytes):
                assert self.here.right(number)
            elif replies:
                assert self.spoiled

    @invariant()
    def requests_are_bounded_and_each_question_is_asked_twice_at_the_most(self) -> None:
        asked_for = Counter(text for asked in self.here.opa.seen for text in asked.questions.values())
        assert max(asked_for.values(), default=0) <= 2
        assert max((len(asked.questions) for asked in self.here.opa.seen), default=0) <= MOST
        assert self.here.opa.most_open <= 2 * CONNECTIONS + 1  # those that were dropped end a moment later
        assert len(self.here.asker._busy) <= CONNECTIONS + sum(asked.ids == [CANARY] for asked in self.here.opa.held)

    def teardown(self) -> None:
        async def end() -> None:
            self.here.opa.at_once = Asked.right
            for asked in self.here.opa.held[:]:
                asked.send(asked.right())
            await soon(self.here.answered)
            await self.context.__aexit__(None, None, None)

        try:
            self.runner.run(end())
            self.each_has_its_own_answer_or_an_error_and_one_of_them()
        finally:
            self.patch.undo()
            self.runner.close()


def test_each_question_gets_its_own_answer_under_any_order_of_events() -> None:
    run_state_machine_as_test(
        Travelling,
        settings=settings(max_examples=25, stateful_step_count=25, deadline=None,
                          suppress_health_check=[HealthCheck.too_slow]),
    )  # fmt: skip
