"""Why a server did not answer, over real links: one word for each case, told once and settled with the call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sidecar.events import UpstreamFailed
from sidecar.mcp.tool_call import Outcome
from sidecar.session.route import Route
from sidecar.upstream.streamable_http import HttpLink
from tests.downstream.fakes import line, post, run
from tests.session.fakes import encoded
from tests.support.certificates import issued
from tests.support.ports import free_port
from tests.support.scripted_http import Asked, reply, scripted
from tests.upstream.causes import CALL, WAYS, Way, silent

UNKNOWN, NOT_RUN = Outcome.UNKNOWN, Outcome.NOT_RUN


@contextmanager
def dead() -> Iterator[str]:
    yield f"http://127.0.0.1:{free_port()}/mcp"


@contextmanager
def unnamed() -> Iterator[str]:
    yield "http://no-such.invalid/mcp"


HALF = reply(200, b'{"jsonrpc"', content_type="application/json", content_length="100")
STRANGE = reply(200, line(id=2, result={}), content_type="application/json")
BROKEN_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\n: hi\n"

SAID: dict[str, tuple[bytes | list[bytes], str, int, Outcome, str]] = {
    "it ends in the middle": ([HALF], "lost", 0, UNKNOWN, "ended before the answer was complete"),
    "it ends before": ([b""], "lost", 0, UNKNOWN, "ended before the answer was complete"),
    "its stream breaks off": ([BROKEN_STREAM], "lost", 0, UNKNOWN, "ended before the answer was complete"),
    "status 401": (reply(401), "status", 401, NOT_RUN, "status 401: it wants credentials"),
    "status 404": (reply(404), "status", 404, NOT_RUN, "status 404"),
    "status 500": (reply(500, b"private words"), "status", 500, UNKNOWN, "status 500"),
    "status 302": (reply(302, location="/x"), "status", 302, NOT_RUN, "redirects (status 302)"),
    "a page": (reply(200, b"<p>", content_type="text/html"), "unreadable", 0, UNKNOWN, "status 200 and no message"),
    "no HTTP": ([b"what?\r\n\r\n"], "unreadable", 0, UNKNOWN, "the answer cannot be read"),
}  # fmt: skip


def told_once(way: Way, cause: str, status: int, outcome: Outcome, words: str) -> UpstreamFailed:
    """The call was settled once, with the cause, and that was told once."""
    assert way.gate.settled == [(1, outcome)]
    assert way.gate.causes == [(cause, status)]
    [failure] = way.failures
    assert (failure.server, failure.cause, failure.status) == ("stub", cause, status)
    assert words in failure.text
    assert "private words" not in failure.text
    return failure


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", SAID)
def test_what_a_server_says_that_is_no_answer_has_its_cause(way: str, case: str) -> None:
    said, cause, status, outcome, words = SAID[case]

    async def test() -> None:
        made = Way()
        with scripted(lambda asked: said) as server:
            await made.call(way, f"{server.url}/mcp")
        failure = told_once(made, cause, status, outcome, words)
        assert failure.text.endswith(f"({server.url.removeprefix('http://')})")

    run(test())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("server", "cause", "words"),
    [(dead, "refused", "the connection is refused"), (unnamed, "dns", "its name cannot be resolved"),
     (silent, "timeout", "no connection within 0.3 s")],
)  # fmt: skip
def test_a_server_that_cannot_be_reached_has_its_cause(
    way: str, server: Callable[[], AbstractContextManager[str]], cause: str, words: str
) -> None:
    async def test() -> None:
        made = Way()
        with server() as url:
            await made.call(way, url)
        told_once(made, cause, 0, NOT_RUN, words)

    run(test())


@pytest.mark.parametrize("way", WAYS)
def test_a_server_whose_certificate_is_not_accepted_is_told_with_the_reason(way: str, tmp_path: Path) -> None:
    async def test() -> None:
        made = Way()
        with scripted(lambda asked: reply(200), issued(tmp_path).context) as server:
            await made.call(way, f"{server.url}/mcp")
        told_once(made, "tls", 0, NOT_RUN, "its TLS certificate is not accepted: ")

    run(test())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "body", [b"{", line(id=2, result={}), line(id=1, result={}, error={}), b"[]", b""],
    ids=["cut", "other", "both", "batch", "empty"],
)  # fmt: skip
def test_an_answer_that_is_none_to_the_call_is_unreadable(way: str, body: bytes) -> None:
    async def test() -> None:
        made = Way()
        with scripted(lambda asked: reply(200, body, content_type="application/json")) as server:
            await made.call(way, f"{server.url}/mcp")
        told_once(made, "unreadable", 0, UNKNOWN, "")

    run(test())


def test_an_error_of_the_servers_own_is_an_answer_whatever_its_status() -> None:
    own = reply(500, line(id=1, error={"code": -32603, "message": "no"}), content_type="application/json")

    async def test() -> None:
        for way in WAYS:
            made = Way()
            with scripted(lambda asked: own) as server:
                await made.call(way, f"{server.url}/mcp")
            assert (made.gate.causes, made.failures) == ([("", 0)], [])

    run(test())


# A connection that stays.


def stream(asked: Asked) -> bytes | list[bytes]:
    """A legacy server that names its address and ends as soon as a message was posted."""
    if asked.method == "POST":
        return reply(503)
    return [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: endpoint\ndata: /messages\n\n"]


@pytest.mark.parametrize(
    ("said", "cause", "status"),
    [(reply(401), "status", 401), (reply(200, b"", content_type="text/html"), "unreadable", 0),
     ([b""], "lost", 0), ([b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"], "lost", 0)],
)  # fmt: skip
def test_a_stream_that_cannot_be_had_is_told_once(said: bytes | list[bytes], cause: str, status: int) -> None:
    async def test() -> None:
        made = Way()
        with scripted(lambda asked: said) as server:
            assert await made.sse(f"{server.url}/sse") is None
        assert [(one.cause, one.status) for one in made.failures] == [(cause, status)]

    run(test())


def test_a_stream_that_ends_loses_the_calls_that_wait_and_is_told_once() -> None:
    async def test() -> None:
        made = Way()
        with scripted(stream) as server:
            link = await made.sse(f"{server.url}/sse")
            assert link is not None
            session = made.bridged(link)
            session.from_client(encoded(**CALL))
            await link.ended()
            session.server_ended(link.cause)
            await link.stop(ask=False)
            await made.close()
        [cause] = made.gate.causes
        assert cause in {("lost", 0), ("status", 503)}  # either may be first
        assert {one.text.partition(" (")[0] for one in made.failures} >= {"the MCP server ended its stream"}

    run(test())


@pytest.mark.parametrize(
    ("script", "words"),
    [("import sys; sys.stdin.readline(); sys.exit(3)", "the MCP server ended with status 3"),
     ("import os,sys; sys.stdin.readline(); os.kill(os.getpid(), 9)", "the MCP server was ended by SIGKILL")],
)  # fmt: skip
def test_a_program_that_ends_says_how_and_loses_the_calls_that_wait(script: str, words: str) -> None:
    async def test() -> None:
        made = Way()
        link = await made.child(script)
        session = made.bridged(link)
        session.from_client(encoded(**CALL))
        await link.ended()
        session.server_ended(link.cause)
        link.close()
        assert told_once(made, "ended", 0, UNKNOWN, words).text == words

    run(test())


def test_a_program_that_is_told_to_end_is_no_failure() -> None:
    async def test() -> None:
        made = Way()
        link = await made.child("import sys; sys.stdin.read()")
        made.bridged(link)
        await link.stop(ask=False)
        link.close()
        assert made.failures == []

    run(test())


# Nobody waits any more, and a defect of ours.


@pytest.mark.parametrize("way", WAYS)
def test_a_call_whose_client_left_was_given_up_and_is_no_failure_of_the_server(way: str) -> None:
    async def test() -> None:
        made, came = Way(), asyncio.Event()
        loop = asyncio.get_running_loop()

        def never(asked: Asked) -> list[bytes]:
            loop.call_soon_threadsafe(came.set)
            server.over.wait(10)
            return [b""]

        with scripted(never) as server:
            remote = made.remote(f"{server.url}/mcp")
            if way == "bridge":
                link = HttpLink(remote)
                session = made.bridged(link)
                session.from_client(encoded(**CALL))
                await came.wait()
                session.close()
                link.close()
            else:
                made.relayed(remote).handle(post(None, **CALL), made.gone.exchange, None)
                await came.wait()
                made.gone.leave()
            await made.settled()
            await remote.close()
        assert (made.gate.settled, made.gate.causes) == ([(1, UNKNOWN)], [("given_up", 0)])
        assert made.failures == []

    run(test())


def test_a_defect_that_ends_a_call_is_its_cause() -> None:
    made_for: list[bytes] = []

    def broken(_: object) -> None:
        raise RuntimeError("a defect")

    async def test() -> None:
        made = Way()
        session = made.session(Route(lambda message: made_for.append(message.raw), broken))
        session.from_client(encoded(**CALL))
        assert made.gate.causes == [("defect", 0)]
        assert made.failures == []

    run(test())
    assert b"upstream" not in made_for[0]
