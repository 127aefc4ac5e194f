"""Work of another process, counted from outside with nothing but what Linux, SQLite and Redis offer to everybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from redis import Redis
from redis.client import Monitor

from tests.support.redis_server import RedisServer

WAL_HEADER: Final = 32
FRAME_HEADER: Final = 24


@dataclass(frozen=True, slots=True)
class Kernel:
    """What a process asked of the kernel: reads and writes of files, pipes and sockets; how often a thread fell asleep.

    Reads and writes are those of `read`, `write` and their kin, which uvloop uses for sockets too. A thread sleeps when
    it waits: in `epoll_wait` for work, or in a `futex` for another thread.
    """

    reads: int
    writes: int
    sleeps: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """All since the process began."""
        process = Path("/proc", str(pid))
        io = _numbers((process / "io").read_text())
        threads = [_numbers((task / "status").read_text()) for task in (process / "task").iterdir()]
        return cls(io["syscr"], io["syscw"], sum(thread["voluntary_ctxt_switches"] for thread in threads))

    def since(self, before: Kernel) -> Kernel:
        """What came on top."""
        return Kernel(self.reads - before.reads, self.writes - before.writes, self.sleeps - before.sleeps)


def transactions(state: Path) -> int:
    """How many transactions that changed something were committed to the store of counters, since its log is there.

    SQLite keeps each changed page as a frame in the log, and marks the last one of a transaction with the size of the
    file (https://www.sqlite.org/fileformat2.html#the_write_ahead_log). The log begins anew after 1,000 pages.
    """
    (log,) = state.glob("*.db-wal")
    data = log.read_bytes()
    if not data:
        return 0
    assert data[12:16] == bytes(4), "the log began anew: what was in it before cannot be counted"
    frames = range(WAL_HEADER, len(data) - FRAME_HEADER, FRAME_HEADER + int.from_bytes(data[8:12], "big"))
    return sum(data[at + 4 : at + 8] != bytes(4) for at in frames)


@dataclass(slots=True)
class RoundTrips:
    """The commands that Redis got from its clients, those of scripts left out."""

    commands: list[str] = field(default_factory=list)


@contextmanager
def round_trips(server: RedisServer) -> Iterator[RoundTrips]:
    """Listen to all that Redis is asked for the length of a `with`; the result is there at its end."""
    found = RoundTrips()
    with server.client() as watching, server.client() as speaking, _monitor(watching) as monitor:
        yield found
        # On a connection of its own, behind everything that was answered.
        speaking.echo("the end")
        for told in monitor.listen():
            if told["command"] == "ECHO the end":
                break
            if told["client_type"] != "lua" and not _is_greeting(told["command"]):
                found.commands.append(told["command"].partition(" ")[0].upper())


def _monitor(client: Redis) -> Monitor:
    monitor: Monitor = client.monitor()  # type: ignore[no-untyped-call] # the library says nothing of its type
    return monitor


def _is_greeting(command: str) -> bool:
    return bool(re.match(r"(?i)(HELLO|CLIENT|AUTH|SELECT)\b", command))


def _numbers(text: str) -> dict[str, int]:
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: int(value) for name, _, value in pairs if value.strip().isdecimal()}
