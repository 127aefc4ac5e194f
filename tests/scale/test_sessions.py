"""A thousand sessions at once on one listener: all are served, slow calls hold nobody up, memory comes back."""

from __future__ import annotations

import asyncio
import json
import re
import statistics
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import pytest

from tests.scale.client import Session
from tests.scale.server import Server, serve
from tests.support.listener import Listener, sidecar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SESSIONS = 1000
ALL_OF_ONE = ("--max-sessions-each", str(SESSIONS))
"""Here all clients have one address."""
SLOW = 10
AT_ONCE = 32
"""Calls under way where latency is measured: as many as the bench has."""
KIB_A_SESSION = 32
"""What an open session may cost: its connection here, its share of the server's, its state."""
MIB_LEFT = 12
"""What may stay after a thousand sessions, once as many had been there before: allocators keep some."""

POLICY = """\
version: "1"
default: deny
tools:
  echo:
    rules:
      - name: small
        conditions: [{path: args.n, op: lt, value: 1000000}]
        on_deny: too large
  meet: {}
  slow: {}
"""

T = TypeVar("T")


class SidecarUnderTest:
    """A sidecar in front of the server."""

    def __init__(self, server: Server, listener: Listener) -> None:
        self.server = server
        self.url = listener.url
        self.pid = listener.process.pid

    @property
    def mib(self) -> float:
        """Its resident memory."""
        found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    async def opened(self) -> list[Session]:
        """A thousand sessions, all open."""
        sessions = await some_at_once([Session.open(self.url) for _ in range(SESSIONS)])
        assert len(self.server.sessions) == SESSIONS
        return sessions

    async def ended(self, sessions: Sequence[Session]) -> None:
        """All of them deleted."""
        await some_at_once([session.end() for session in sessions])
        assert self.server.sessions == set()


@asynccontextmanager
async def world(folder: Path) -> AsyncIterator[SidecarUnderTest]:
    """Everything started, and ended when left."""
    server = Server(SESSIONS, SLOW)
    async with serve(server) as upstream:
        command = sidecar(folder, POLICY, "--transport", "http", "--port", "0", "--upstream", upstream, *ALL_OF_ONE)
        with await asyncio.to_thread(Listener, command, folder) as listener:
            yield SidecarUnderTest(server, listener)


async def some_at_once(work: Iterable[Any]) -> list[Any]:
    """What each gives, no more than a few of them under way."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(each: Any) -> Any:
        async with room:
            return await each

    return await asyncio.gather(*map(one, work))


async def latencies(sessions: Sequence[Session], begin: int) -> list[float]:
    """How long a call of each took, every one with an argument that was not there before."""

    async def timed(session: Session, n: int) -> float:
        since = perf_counter()
        await session.call("echo", n=n)
        return perf_counter() - since

    return await some_at_once([timed(session, begin + at) for at, session in enumerate(sessions)])


def test_a_thousand_sessions_call_at_once_and_each_gets_its_own_answer(tmp_path: Path) -> None:
    async def play() -> None:
        async with world(tmp_path) as here:
            sessions = await here.opened()
            # `meet` answers nobody until all thousand calls are at the server.
            await asyncio.gather(*[session.call("meet") for session in sessions])
            await here.ended(sessions)

    asyncio.run(play())


def test_ten_slow_calls_do_not_hold_up_the_others(tmp_path: Path) -> None:
    async def play() -> None:
        async with world(tmp_path) as here:
            sessions = await here.opened()
            slow, others = sessions[:SLOW], sessions[SLOW:]
            await latencies(others, 0)
            without, beside = list[list[float]](), list[list[float]]()
            # In turns, so that what else the machine does meets both alike.
            for turn in range(2):
                without.append(await latencies(others, 10_000 * (turn + 1)))
                here.server.all_slow_run.clear()
                here.server.let_slow_answer.clear()
                calls = [asyncio.create_task(session.call("slow")) for session in slow]
                await asyncio.wait_for(here.server.all_slow_run.wait(), 60)
                beside.append(await latencies(others, 100_000 * (turn + 1)))
                # All the others were answered, and not one of the slow.
                assert here.server.slow_running == SLOW
                here.server.let_slow_answer.set()
                await asyncio.gather(*calls)
            print(json.dumps({"without": figures(without), "beside": figures(beside)}))
            assert least(beside, 50) < 3 * least(without, 50)
            assert least(beside, 99) < 5 * least(without, 99)
            await here.ended(sessions)

    asyncio.run(play())


def test_memory_is_bounded_and_comes_back(tmp_path: Path) -> None:
    async def play() -> None:
        async with world(tmp_path) as here:
            seen = []
            for turn in range(3):
                before = here.mib
                sessions = await here.opened()
                await latencies(sessions, 10_000 * turn)
                seen.append((before, here.mib))
                await here.ended(sessions)
            print(json.dumps([*seen, here.mib]))
            (empty, full), (once, _), _ = seen
            assert full - empty < SESSIONS * KIB_A_SESSION / 1024
            assert here.mib - once < MIB_LEFT

    asyncio.run(play())


def least(turns: Sequence[Sequence[float]], percent: int) -> float:
    """A percentile in the calmest turn."""
    return min(statistics.quantiles(turn, n=100)[percent - 1] for turn in turns)


def figures(turns: Sequence[Sequence[float]]) -> dict[str, float]:
    """What a person may want to see, in milliseconds."""
    return {f"p{percent}": round(least(turns, percent) * 1000, 2) for percent in (50, 99)}
