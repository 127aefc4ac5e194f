"""Redis when another server is the primary: the old one's connections are dropped, and nothing is counted twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import RedisError

from sidecar.errors import StoreUnavailable
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.values import Counter
from tests.ledger.stores import DAY, Clock, RedisStore, claims, wants
from tests.support.peer import SECONDS, until
from tests.support.redis_server import RedisServer

CONNECTIONS = 6
AT_ONCE = ("--repl-diskless-sync-delay", "0")
"""A replica gets all without a wait for others."""


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """A primary, and a replica that has caught up with it."""
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
    with RedisServer(folders[0], *AT_ONCE) as one, RedisServer(folders[1], *AT_ONCE) as other:
        follow(other, one)
        yield [one, other]


def follow(replica: RedisServer, primary: RedisServer) -> None:
    """Make one the replica of another, and wait until it has all."""
    with replica.client() as client:
        client.replicaof("127.0.0.1", primary.port)
        until(lambda: client.info("replication")["master_link_status"] == "up")


class Address:
    """One address, behind which now one server is and now another; connections stay where they began."""

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.opened = 0

    async def forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the server of the moment."""
        self.opened += 1
        back, on = await asyncio.open_connection("127.0.0.1", self.server.port)
        await asyncio.gather(pump(reader, on), pump(back, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry all bytes on."""
    with suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def address_of(server: RedisServer) -> AsyncIterator[tuple[Address, RedisLedger]]:
    """An address, and a ledger that knows nothing but it."""
    address = Address(server)
    listener = await asyncio.start_server(address.forward, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    ledger = RedisStore(f"redis://127.0.0.1:{port}/0", "").ledger(Clock())
    try:
        await ledger.check("stub")
        yield address, ledger
    finally:
        await ledger.close()
        listener.close()


async def many(ledger: RedisLedger) -> None:
    """Claims at the same time, so that many connections are open."""
    await asyncio.gather(*(claims(ledger, wants(limit=None)) for _ in range(CONNECTIONS)))


def test_after_a_failover_behind_one_address_everything_goes_to_the_new_primary_at_once(
    pair: list[RedisServer],
) -> None:
    old, new = pair

    async def test() -> None:
        async with address_of(old) as (address, ledger):
            await many(ledger)
            with new.client() as client:
                until(lambda: client.get(f"stub/t.n||{DAY}|{int(Clock()() // DAY * DAY)}") is not None)
                client.replicaof("NO", "ONE")
            follow(old, new)
            address.server = new
            await many(ledger)
            taken = await claims(ledger, wants(limit=None))
            assert taken.totals == (2 * CONNECTIONS + 1,)
            await ledger.give_back(taken.entries)
            assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (2 * CONNECTIONS,)

    asyncio.run(test())


def test_totals_are_not_asked_of_a_server_that_is_not_to_be_written_to(pair: list[RedisServer]) -> None:
    old, new = pair

    async def test() -> None:
        async with address_of(old) as (address, ledger):
            await claims(ledger, wants(limit=None))
            with new.client() as client:
                client.replicaof("NO", "ONE")
                client.set(f"stub/t.n||{DAY}|{int(Clock()() // DAY * DAY)}", "5" + "0" * 63)
            with old.client() as client:
                client.replicaof("127.0.0.1", 1)  # it hears of nothing more
            address.server = new
            assert await ledger.totals((Counter("stub/t.n", "", DAY),)) == (5,)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("min-replicas-to-write", 1, "NOREPLICAS"),
        ("maxmemory", 1, "maxmemory"),
        ("replica", 1, "read only replica"),
    ],
)
def test_a_server_that_refuses_to_write_is_said_and_used_again_when_it_does(
    tmp_path: Path, option: str, value: int, why: str
) -> None:
    with RedisServer(tmp_path) as server, server.client() as client:

        async def test() -> None:
            async with address_of(server) as (address, ledger):
                await claims(ledger, wants(limit=None))
                if option == "replica":
                    client.replicaof("127.0.0.1", 1)
                else:
                    client.config_set(option, value)
                opened = address.opened
                with pytest.raises(StoreUnavailable, match=why):
                    await ledger.claim((wants(limit=None), wants("b")))
                assert address.opened - opened <= 1  # put again once at the most
                if option == "replica":
                    client.replicaof("NO", "ONE")
                else:
                    client.config_set(option, 0)
                assert (await claims(ledger, wants(limit=None))).totals == (2,)

        asyncio.run(test())


def test_a_server_that_is_busy_is_bounded_and_said(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--lua-time-limit", "1") as server:

        async def test() -> None:
            async with address_of(server) as (_, ledger):
                await claims(ledger, wants(limit=None))
                with server.client() as client, server.client() as another:
                    spinning = asyncio.get_running_loop().run_in_executor(
                        None, lambda: suppressed(lambda: client.eval("while true do end", 0))
                    )
                    until(lambda: suppressed(another.ping) is None)
                    with pytest.raises(StoreUnavailable, match="BUSY"):
                        await ledger.claim((wants(limit=None),))
                    another.script_kill()
                    await asyncio.wait_for(spinning, SECONDS)
                    assert (await claims(ledger, wants(limit=None))).totals == (2,)

        asyncio.run(test())


def suppressed(ask: Callable[[], Any]) -> Any:
    """What is answered; None for an error."""
    try:
        return ask()
    except RedisError:
        return None


def test_a_cluster_is_refused_at_the_start_with_the_reason(tmp_path: Path) -> None:
    with RedisServer(tmp_path, "--cluster-enabled", "yes") as server:
        with server.client() as client:
            run: Callable[..., Any] = client.execute_command
            run("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            until(lambda: run("CLUSTER INFO")["cluster_state"] == "ok")

        async def test() -> None:
            ledger = RedisStore(server.dsn, "").ledger(Clock())
            try:
                with pytest.raises(StoreUnavailable, match="is a Redis Cluster"):
                    await ledger.check("stub")
            finally:
                await ledger.close()

        asyncio.run(test())
