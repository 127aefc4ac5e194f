"""Questions over a unix socket, against a tiny server that answers, lies, is late, or goes away."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from sidecar.engine import client, connection
from sidecar.engine.client import CONNECTIONS, EngineClient, Greeting
from sidecar.engine.wire import ReplyReader
from sidecar.errors import EngineUnavailable
from tests.engine.asking import soon
from tests.support.peer import until

Behaviour = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


async def echo(question: bytes, writer: asyncio.StreamWriter) -> None:
    """Answer a question with itself."""
    writer.write(reply(question))


async def silence(_: bytes, __: asyncio.StreamWriter) -> None:
    """Never answer."""


class FakeOpa:
    """Reads questions on a unix socket and hands each to `behave`; counts connections made and ended."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.made = self.ended = self.open_at_once = 0

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self.open_at_once = max(self.open_at_once, self.made - self.ended)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                await self.behave(await reader.readexactly(int(head.split(b"Content-Length: ")[1])), writer)
        self.ended += 1
        writer.close()


@asynccontextmanager
async def asking(
    folder: Path, behave: Behaviour, timeout: float = 5.0, greeting: Greeting | None = None
) -> AsyncIterator[tuple[EngineClient, FakeOpa, list[str]]]:
    """An asker, the server that it asks, and a list that grows whenever the asker says it lost a connection."""
    losses: list[str] = []
    opa = FakeOpa(behave)
    server = await asyncio.start_unix_server(opa.connected, str(folder / "opa.sock"), backlog=1000)
    asker = EngineClient(
        str(folder / "opa.sock"), timeout, lambda: losses.append("lost"), [greeting] if greeting else (), most=1
    )
    try:
        yield asker, opa, losses
    finally:
        asker.close()
        server.close()
        await soon(lambda: opa.made == opa.ended)


async def kind_of_failure(asker: EngineClient, question: bytes = b"q") -> str:
    with pytest.raises(EngineUnavailable) as failure:
        await asker.ask(question, "id")
    return failure.value.kind


def test_a_question_is_answered_with_the_body_of_the_reply(tmp_path: Path) -> None:
    async def test() -> None:
        async with asking(tmp_path, echo) as (asker, _, losses):
            assert await asker.ask(b"hello", "id") == b"hello"
            assert losses == []

    uvloop.run(test())


def test_questions_one_after_another_share_a_connection(tmp_path: Path) -> None:
    async def test() -> None:
        async with asking(tmp_path, echo) as (asker, opa, _):
            for number in range(50):
                assert await asker.ask(b"%d" % number, "id") == b"%d" % number
            assert opa.made == 1

    uvloop.run(test())


def test_many_questions_at_once_get_their_own_answers_over_a_bounded_number_of_connections(tmp_path: Path) -> None:
    async def slow_echo(question: bytes, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.001 * (int(question) % 7))
        writer.write(reply(question))

    async def test() -> None:
        async with asking(tmp_path, slow_echo) as (asker, opa, _):
            questions = [b"%d" % number for number in range(5 * CONNECTIONS)]
            assert await asyncio.gather(*(asker.ask(question, "id") for question in questions)) == questions
            assert 1 < opa.open_at_once <= CONNECTIONS

    uvloop.run(test())


def test_an_engine_that_does_not_answer_is_given_up_after_the_time_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with asking(tmp_path, silence, timeout=0.05) as (asker, opa, losses):
            assert await kind_of_failure(asker) == "timeout"
            await soon(lambda: opa.ended == 1)
            assert losses == []

    uvloop.run(test())


def test_an_answer_that_came_while_this_process_was_held_up_is_taken(tmp_path: Path) -> None:
    asked, go, answered = threading.Event(), threading.Event(), threading.Event()

    def answer(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(1000)
            asked.set()
            go.wait(5)
            connection.sendall(reply(b"yes"))
            answered.set()
            connection.recv(1000)  # until the asker closes it

    async def test() -> None:
        def hold_up() -> None:
            """Let nothing go on here until the answer is there and its time is over."""
            loop.remove_reader(ours)
            too_late = time.monotonic() + 1.1
            go.set()
            answered.wait(5)
            until(lambda: time.monotonic() > too_late)

        loop, asker = asyncio.get_running_loop(), EngineClient(str(tmp_path / "opa.sock"), 1.0, lambda: None)
        waiting = asyncio.ensure_future(asker.ask(b"q", "id"))
        await soon(asked.is_set)
        # As a client's message does: what is read runs right before what is due.
        loop.add_reader(ours, hold_up)
        theirs.send(b"now")
        assert await waiting == b"yes"
        asker.close()

    ours, theirs = socket.socketpair()

    with ours, theirs, socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor(1) as threads:
        listening.bind(str(tmp_path / "opa.sock"))
        listening.listen()
        server = threads.submit(answer, listening)
        uvloop.run(test())
        server.result(5)


def test_questions_that_wait_for_a_connection_are_bound_by_the_same_time_out(tmp_path: Path) -> None:
    async def test() -> None:
        async with asking(tmp_path, silence, timeout=0.1) as (asker, _, __):
            async with asyncio.timeout(2):
                kinds = await asyncio.gather(*(kind_of_failure(asker) for _ in range(3 * CONNECTIONS)))
            assert set(kinds) == {"timeout"}

    uvloop.run(test())


def test_a_late_answer_is_never_taken_for_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        given_up = asyncio.Event()

        async def late(question: bytes, writer: asyncio.StreamWriter) -> None:
            if question == b"first":
                await given_up.wait()
            writer.write(reply(question))

        async with asking(tmp_path, late, timeout=0.2) as (asker, opa, _):
            assert await kind_of_failure(asker, b"first") == "timeout"
            given_up.set()
            assert await asker.ask(b"second", "id") == b"second"
            assert opa.made == 2

    uvloop.run(test())


def test_the_answer_to_a_cancelled_question_is_never_taken_for_the_next(tmp_path: Path) -> None:
    async def test() -> None:
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def late(question: bytes, writer: asyncio.StreamWriter) -> None:
            if question == b"first":
                asked.set()
                await cancelled.wait()
            writer.write(reply(question))

        async with asking(tmp_path, late) as (asker, _, losses):
            task = asyncio.create_task(asker.ask(b"first", "id"))
            await asked.wait()
            task.cancel()
            await asyncio.wait([task])
            cancelled.set()
            assert await asker.ask(b"second", "id") == b"second"
            assert losses == []

    uvloop.run(test())


def test_what_comes_unasked_is_never_taken_for_an_answer(tmp_path: Path) -> None:
    async def test() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def remember_writer(question: bytes, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            writer.write(reply(question))

        async with asking(tmp_path, remember_writer) as (asker, opa, _):
            await asker.ask(b"first", "id")
            writers[0].write(reply(b"unasked"))
            await soon(lambda: opa.ended == 1)
            assert await asker.ask(b"second", "id") == b"second"

    uvloop.run(test())


@pytest.mark.parametrize("waits", [False, True], ids=["idle", "a question waits"])
def test_what_came_unasked_is_never_taken_for_an_answer_though_the_loop_has_not_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    ends: list[socket.socket] = []

    async def answer(question: bytes, writer: asyncio.StreamWriter) -> None:
        ends.append(socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())))
        await echo(question, writer)

    class Followed(ReplyReader):
        """While the first reply is read another one comes."""

        def feed(self, data: bytes) -> bytes | None:
            body = super().feed(data)
            if body == b"first":
                ends[0].send(reply(b"unasked"))
            return body

    monkeypatch.setattr(connection, "ReplyReader", Followed)
    monkeypatch.setattr(client, "CONNECTIONS", 1)

    async def test() -> None:
        async with asking(tmp_path, answer) as (asker, opa, losses):
            if waits:
                both = [asker.ask(question, "id") for question in (b"first", b"second")]
                assert await asyncio.gather(*both) == [b"first", b"second"]
            else:
                assert await asker.ask(b"first", "id") == b"first"
                assert await asker.ask(b"second", "id") == b"second"
            assert (opa.made, losses) == (2, [])
        for end in ends:
            end.close()

    uvloop.run(test())


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", reply(b"whole")[:-1]])
def test_a_connection_that_closes_before_the_whole_answer_gives_none_and_is_lost(tmp_path: Path, said: bytes) -> None:
    async def close(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        writer.close()

    async def test() -> None:
        async with asking(tmp_path, close) as (asker, _, losses):
            assert await kind_of_failure(asker) == "connection"
            assert losses == ["lost"]

    uvloop.run(test())


@pytest.mark.parametrize(
    "said", [b"garbage\r\n\r\n", reply(b"{}").replace(b"200", b"500"), reply(b"{}") + reply(b"{}")]
)
def test_a_reply_that_cannot_be_used_is_no_answer_and_its_connection_is_not_used_again(
    tmp_path: Path, said: bytes
) -> None:
    async def lie(question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said if question == b"q" else reply(question))

    async def test() -> None:
        async with asking(tmp_path, lie) as (asker, opa, losses):
            assert await kind_of_failure(asker) == "reply"
            assert await asker.ask(b"next", "id") == b"next"
            assert (opa.made, losses) == (2, [])

    uvloop.run(test())


def test_an_engine_that_closes_an_idle_connection_is_lost_and_asked_over_a_new_one(tmp_path: Path) -> None:
    async def test() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def remember_writer(question: bytes, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            writer.write(reply(question))

        async with asking(tmp_path, remember_writer) as (asker, opa, losses):
            await asker.ask(b"first", "id")
            assert losses == []
            writers[0].close()
            await soon(lambda: losses)
            assert await asker.ask(b"second", "id") == b"second"
            assert (opa.made, losses) == (2, ["lost"])

    uvloop.run(test())


@pytest.mark.parametrize(
    ("half", "asks_on"), [(socket.SHUT_RDWR, False), (socket.SHUT_RDWR, True), (socket.SHUT_WR, False)]
)
def test_that_a_connection_ends_is_known_before_its_loss_is_told(tmp_path: Path, half: int, asks_on: bool) -> None:
    async def test() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def remember_writer(question: bytes, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await echo(question, writer)

        async with asking(tmp_path, remember_writer) as (asker, _, losses):
            await asker.ask(b"1", "id")
            assert asker.is_whole()
            with socket.socket(fileno=os.dup(writers[0].get_extra_info("socket").fileno())) as end:
                end.shutdown(half)
            if asks_on:
                # Its write fails at once, and nothing is read from that connection any more: not the end either.
                asker.put(b"2", "id", lambda reply: None)
            assert losses == []
            assert not asker.is_whole()
            await soon(lambda: losses == ["lost"])
            assert asker.is_whole()

    uvloop.run(test())


def test_a_connection_that_waits_for_its_answer_is_seen_to_end_too(tmp_path: Path) -> None:
    async def test() -> None:
        writers: list[asyncio.StreamWriter] = []

        async def think(question: bytes, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)

        async with asking(tmp_path, think) as (asker, _, losses):
            replies: list[object] = []
            for question in (b"1", b"2"):
                asker.put(question, "id", replies.append)
            await soon(lambda: len(writers) == 2)
            assert asker.is_whole()
            writers[0].transport.abort()
            with socket.socket(fileno=os.dup(writers[1].get_extra_info("socket").fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
            assert (losses, replies, asker.is_whole()) == ([], [], False)
            await soon(lambda: len(replies) == 2)
            assert asker.is_whole()

    uvloop.run(test())


def test_a_connection_that_is_dropped_is_no_loss(tmp_path: Path) -> None:
    async def test() -> None:
        async with asking(tmp_path, silence, timeout=0.2) as (asker, opa, losses):
            whole: list[bool] = []
            asker.put(b"q", "id", lambda reply: whole.append(asker.is_whole()))
            await soon(lambda: opa.ended == 1)
            assert (whole, losses, asker.is_whole()) == ([True], [], True)

    uvloop.run(test())


def test_a_connection_that_closes_right_after_its_answer_is_not_used_again(tmp_path: Path) -> None:
    async def answer_and_close(question: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(question))
        writer.close()

    async def test() -> None:
        async with asking(tmp_path, answer_and_close) as (asker, _, losses):
            for number in range(20):
                assert await asker.ask(b"%d" % number, "id") == b"%d" % number
                await soon(lambda: len(losses) == number + 1)  # noqa: B023 - used before the next turn

    uvloop.run(test())


def test_closing_is_no_loss_and_leaves_what_is_in_flight_without_an_answer(tmp_path: Path) -> None:
    async def test() -> None:
        asked = asyncio.Event()

        async def silence(_: bytes, __: asyncio.StreamWriter) -> None:
            asked.set()

        async with asking(tmp_path, silence) as (asker, opa, losses):
            failure = asyncio.create_task(kind_of_failure(asker))
            await asked.wait()
            asker.close()
            assert await failure == "connection"
            await soon(lambda: opa.ended == 1)
            assert losses == []

    uvloop.run(test())


def test_no_socket_is_no_answer(tmp_path: Path) -> None:
    async def test() -> None:
        assert await kind_of_failure(EngineClient(str(tmp_path / "none.sock"), 1.0, lambda: None)) == "connection"

    uvloop.run(test())


@pytest.mark.parametrize("good", [True, False])
def test_nothing_is_asked_on_a_connection_whose_greeting_was_not_answered_well(tmp_path: Path, good: bool) -> None:
    async def test() -> None:
        heard: list[bytes] = []
        checked: list[bytes] = []

        async def note(question: bytes, writer: asyncio.StreamWriter) -> None:
            heard.append(question)
            writer.write(reply(question))

        def check(answer: bytes) -> None:
            assert b"question" not in heard
            checked.append(answer)
            if not good:
                raise EngineUnavailable("version", "this is no OPA of ours")

        async with asking(tmp_path, note, greeting=Greeting(b"who are you", check)) as (asker, opa, _):
            if good:
                assert await asker.ask(b"question", "id") == b"question"
            else:
                assert await kind_of_failure(asker, b"question") == "version"
                await soon(lambda: opa.ended == 1)
            assert checked == [b"who are you"]
            assert (b"question" in heard) is good

    uvloop.run(test())
