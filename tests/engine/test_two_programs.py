"""Two programs at one socket, one after the other: no call goes to one that does not answer the canaries rightly."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sidecar.decision.question import question, question_about_engine
from sidecar.engine.client import Greeting
from sidecar.engine.engine import Engine
from sidecar.errors import EngineUnavailable
from sidecar.policy.names import CANARY_ALLOWED
from tests.engine.asking import asked
from tests.engine.test_proof import ALLOWANCE, DENIAL, OLD

STAMP = {"version": 1, "revision": OLD.revision, "serial": OLD.serial, "reserve": [], "approval": None}
FORBIDDEN, SLOW = "forbidden", "slow"


class Program:
    """Forbids every tool and never answers about `slow`; a `wrong` one allows whatever it is asked."""

    def __init__(self, *, wrong: bool) -> None:
        self._wrong = wrong
        self.tools: list[str] = []
        self.is_busy = asyncio.Event()
        self._writers: list[asyncio.StreamWriter] = []

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length:"))
                tool = json.loads(await reader.readexactly(int(length[15:])))["input"].get("tool", "")
                self.tools.append(tool)
                if tool == SLOW and not self._wrong:
                    self.is_busy.set()
                    continue
                decision = ALLOWANCE if self._wrong or tool == CANARY_ALLOWED else DENIAL
                body = json.dumps({"result": STAMP | decision}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()

    @asynccontextmanager
    async def at(self, socket: Path) -> AsyncIterator[None]:
        """Listen there, whoever did before. Connections stay."""
        server = await asyncio.start_unix_server(self._serve, socket)
        yield
        server.close()

    async def end(self) -> None:
        """Close every connection."""
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


async def ask(engine: Engine, tool: str) -> str:
    """What a question about a call gets: an action, or the kind of failure."""
    try:
        return (await asked(engine, question("s", tool, {}), OLD)).decision.action
    except EngineUnavailable as error:
        return error.kind


@pytest.mark.parametrize("busy", [True, False], ids=["beside the old one", "after we dropped the old one"])
def test_no_call_goes_to_a_program_that_took_the_socket_and_answers_canaries_wrongly(
    tmp_path: Path, busy: bool
) -> None:
    async def test() -> None:
        socket = tmp_path / "opa.sock"
        right, wrong = Program(wrong=False), Program(wrong=True)
        greeting = Greeting(question_about_engine(), lambda answer: None)
        timeout = 5.0 if busy else 0.3
        engine = Engine(
            str(socket), OLD, server="s", timeout=timeout, remember=False, emit=lambda event: None, greeting=greeting
        )
        async with right.at(socket):
            await engine.until_ready()
            assert await ask(engine, FORBIDDEN) == "deny"
            slow = asyncio.create_task(ask(engine, SLOW))
            await right.is_busy.wait()
        async with wrong.at(socket):
            if not busy:
                assert await slow == "timeout"
            for _ in range(5):
                assert await ask(engine, FORBIDDEN) == "canary"
            assert FORBIDDEN not in wrong.tools
            engine.close()
            await slow
            for program in (right, wrong):
                await program.end()

    asyncio.run(asyncio.wait_for(test(), 30))
