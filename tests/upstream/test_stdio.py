"""A server that is a child: how its end is heard of, and what becomes of messages that nobody reads any more."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from sidecar.errors import StartError
from sidecar.mcp.tool_call import Outcome
from sidecar.system.guardian import Guardian
from sidecar.upstream import stdio
from sidecar.upstream.stdio import ChildServer
from tests.downstream.fakes import line
from tests.session.fakes import batch, outgoing
from tests.upstream.fakes import Heard

LIMIT = 1 << 20


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test on the event loop that serves: what is tried here is the loop's manner too."""

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)


@asynccontextmanager
async def started(*command: str) -> AsyncIterator[tuple[ChildServer, Heard]]:
    server, heard = await ChildServer.start(command, LIMIT, Guardian()), Heard()
    heard.begin(server)
    try:
        async with asyncio.timeout(20):
            yield server, heard
    finally:
        server.close()
        await server._exited


def test_a_program_that_ends_at_once_is_a_server_that_ended() -> None:
    async def inside() -> None:
        for _ in range(30):
            async with started("/bin/false") as (server, heard):
                server.send(outgoing(line(id=1, method="ping")))
                assert await server.ended() == 1
                assert heard.messages == []

    run(inside())


def test_what_comes_after_the_end_certainly_did_not_run() -> None:
    async def inside() -> None:
        script = "import os, time; os.close(0); time.sleep(600)"
        async with started(sys.executable, "-S", "-E", "-c", script) as (server, heard):
            await server.ended()
            server.send(outgoing(line(id=1, method="tools/call")))
            server.send(outgoing(batch(line(id="a", method="tools/call"), line(method="b"))))
            await asyncio.sleep(0)
            assert heard.outcomes == [(1, Outcome.NOT_RUN), ("a", Outcome.NOT_RUN)]

    run(inside())


def test_what_a_server_says_before_anybody_listens_is_heard_first_and_in_its_order() -> None:
    early, late = line(method="early"), line(method="late")

    async def inside() -> None:
        server, heard = await ChildServer.start(["cat"], LIMIT, Guardian()), Heard()
        try:
            # As the loop brings what a read that was under way when we paused had found.
            server.pipe_data_received(1, early + b"\n")
            heard.begin(server)
            server.pipe_data_received(1, late + b"\n")
            assert heard.messages == []
            async with asyncio.timeout(20):
                while len(heard.messages) < 2:  # noqa: ASYNC110 - nobody has an event to wait for
                    await asyncio.sleep(0)
            assert [message["method"] for message in heard.messages] == ["early", "late"]
        finally:
            server.close()
            await server._exited

    run(inside())


def test_a_server_that_ends_and_writes_without_end_before_anybody_listens_is_kept_within_bounds() -> None:
    script = (
        "import os, signal; signal.signal(15, signal.SIG_IGN); os.close(0); line = b'{' + b' ' * 60000 + b'}\\n'\n"
        "while True: os.write(1, line)"
    )

    async def inside() -> None:
        server, heard = await ChildServer.start([sys.executable, "-S", "-E", "-c", script], LIMIT, Guardian()), Heard()
        try:
            async with asyncio.timeout(20):
                assert await server.ended() == 128 + signal.SIGKILL
            # One read more than the bound, at most, and what a line that has not ended leaves.
            assert 0 < sum(map(len, server._early)) <= stdio.HIGH_WATER + LIMIT
            heard.begin(server)
            await asyncio.sleep(0)
            assert heard.messages
        finally:
            server.close()
            await server._exited

    run(inside())


def test_a_server_that_reads_nothing_of_very_much_is_over() -> None:
    async def inside() -> None:
        async with started(sys.executable, "-S", "-E", "-c", "import time; time.sleep(600)") as (server, _):
            for number in range(2 * stdio._UNREAD):
                server.send(outgoing(line(id=number, method="m", params={"text": "x" * (LIMIT - 100)})))
                await asyncio.sleep(0)
            assert await server.ended() > 0

    run(inside())


@pytest.mark.parametrize(
    ("program", "why"),
    [
        (
            "no-such-program",
            "No such file or directory; no folder of the PATH has it: install it, or write its absolute",
        ),
        (
            "no/such",
            "No such file or directory; it is looked for from where the sidecar was started: write its absolute",
        ),
        ("/no/such", "No such file or directory$"),
        ("server --flag", "No such file or directory; write the program and each argument as words of their own"),
        ("/etc/passwd", "Permission denied$"),
    ],
)
def test_a_program_that_cannot_be_started_is_known_before_it_is_tried(program: str, why: str) -> None:
    with pytest.raises(StartError, match=f"cannot start the MCP server '{program}': {why}"):
        stdio.check([program])


def test_a_script_whose_interpreter_is_not_there_is_told_apart_from_one_that_is_missing(tmp_path: Path) -> None:
    script = tmp_path / "server"
    script.write_text("#!/no/such/python\n")
    script.chmod(0o755)

    async def inside() -> None:
        await ChildServer.start([str(script)], LIMIT, Guardian())

    with pytest.raises(StartError, match="No such file or directory; the file is there, so what its first line names"):
        run(inside())
