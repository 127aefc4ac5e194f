"""The highest serial that was ever admitted: it only rises, whoever raises it, and each server has its own."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from sidecar.errors import StoreUnavailable
from sidecar.ledger.protocol import MAX_SERIAL, Highest
from sidecar.ledger.sqlite import SWEEP, SqliteLedger
from tests.ledger.stores import DAY, Clock, RedisStore, SqliteStore, Store, claims, ledger_in, wants
from tests.support import ROOT
from tests.support.fuzzing import examples
from tests.support.peer import until
from tests.support.redis_server import RedisServer


def admitted(store: Store, *bundles: Highest, server: str = "okx") -> list[Highest]:
    """What stands after each, in a store that is opened anew for each."""

    async def admit() -> list[Highest]:
        stood = []
        for bundle in bundles:
            async with ledger_in(store) as ledger:
                stood.append(await ledger.admit(server, bundle))
        return stood

    return asyncio.run(admit())


def test_a_higher_serial_is_noted_and_a_lower_one_changes_nothing(store: Store) -> None:
    one, two, older = Highest(3, "aa"), Highest(7, "bb"), Highest(6, "cc")
    assert admitted(store, one, two, older) == [one, two, two]


def test_the_same_serial_keeps_the_revision_that_it_had_first(store: Store) -> None:
    first, other = Highest(3, "aa"), Highest(3, "bb")
    assert admitted(store, first, other, first) == [first, first, first]


def test_each_server_has_its_own(store: Store) -> None:
    assert admitted(store, Highest(9, "aa"), server="okx") == [Highest(9, "aa")]
    for server in ("okx/", "okx|", "OKX", "ok", "|okx", "o:kx", "", "päy", "a b"):
        assert admitted(store, Highest(1, "bb"), server=server) == [Highest(1, "bb")]
    assert admitted(store, Highest(1, "bb"), server="okx") == [Highest(9, "aa")]


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
@given(serials=st.lists(st.tuples(st.integers(1, 9) | st.integers(MAX_SERIAL - 3, MAX_SERIAL), st.sampled_from("abc"))))
@examples(60)
def test_what_stands_is_the_first_of_the_highest(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory, kind: str, serials: list[tuple[int, str]]
) -> None:
    expected, told = [], []
    folder = tmp_path_factory.mktemp("admitted")
    fresh = SqliteStore(folder / "c.db") if kind == "sqlite" else RedisStore(redis_server.dsn, f"{folder.name}:")

    async def test() -> None:
        highest = Highest(0, "")
        async with ledger_in(fresh) as ledger:
            for serial, revision in serials:
                highest = Highest(serial, revision) if serial > highest.serial else highest
                expected.append(highest)
                told.append(await ledger.admit("okx", Highest(serial, revision)))

    asyncio.run(test())
    assert told == expected


@contextmanager
def racing(seed: int, most: int, store: Store) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has all serials admitted."""
    command = [sys.executable, "-m", "tests.ledger.admitter", str(seed), str(most), *store.words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as racer:
        try:
            yield racer
        finally:
            racer.kill()


def test_processes_that_race_all_see_it_rise_and_agree_on_each_revision(store: Store) -> None:
    most, said = 150, []
    with ExitStack() as stack:
        racers = [stack.enter_context(racing(seed, most, store)) for seed in range(3)]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == b"r\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"g")
            racer.stdin.flush()
        for racer in racers:
            assert racer.stdout is not None
            said.append(racer.stdout.read().decode().splitlines())
    revisions: dict[int, set[str]] = {}
    for lines in said:
        assert lines.pop() == "!"
        before = 0
        for line in lines:
            wanted, stands, revision = line.split()
            assert int(stands) >= max(int(wanted), before)
            before = int(stands)
            revisions.setdefault(before, set()).add(revision)
    assert all(len(found) == 1 for found in revisions.values())
    assert admitted(store, Highest(1, "x"))[0].serial == most


def test_a_serial_is_on_the_disk_when_it_is_admitted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, synced = tmp_path / "counters.db", list[str]()
    real = os.fsync

    def fsync(file: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{file}").readlink()))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    admitted(SqliteStore(path), Highest(3, "aa"), Highest(3, "aa"))
    assert synced == [f"{path}-wal"] * 2


def test_a_disk_that_does_not_take_it_is_no_admission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fsync(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreUnavailable, match="No space left"):
        admitted(SqliteStore(tmp_path / "counters.db"), Highest(3, "aa"))


def test_it_survives_every_sweep_of_old_windows(tmp_path: Path) -> None:
    async def test() -> None:
        clock, ran = Clock(), Clock(1000.0)
        ledger = SqliteLedger(tmp_path / "counters.db", clock, ran)
        await ledger.admit("okx", Highest(5, "aa"))
        for _ in range(3):
            clock.now += 400 * DAY
            ran.now += 400 * DAY + SWEEP
            await claims(ledger, wants())
        assert await ledger.admit("okx", Highest(4, "bb")) == Highest(5, "aa")
        await ledger.close()

    asyncio.run(test())


@pytest.mark.parametrize(
    ("serial", "revision"), [("many", "aa"), (0, "aa"), (-3, "aa"), (1.5, "aa"), (2**53, "aa"), (3, b"\xff\xfe")]
)
def test_a_damaged_file_admits_nothing(tmp_path: Path, serial: object, revision: object) -> None:
    store = SqliteStore(tmp_path / "counters.db")
    admitted(store, Highest(3, "aa"))
    with closing(sqlite3.connect(store.path)) as db, db:
        db.execute("UPDATE admitted SET serial = ?, revision = ?", (serial, revision))
    with pytest.raises(StoreUnavailable, match="not as we wrote it"):
        admitted(store, Highest(9, "bb"), Highest(MAX_SERIAL, "bb"))


@pytest.fixture
def redis_store(redis_server: RedisServer, request: pytest.FixtureRequest) -> RedisStore:
    return RedisStore(redis_server.dsn, f"{request.node.name}:".replace("/", "-").replace("|", "-"))


@pytest.mark.parametrize(
    "text",
    [
        "", "many", "3", "3 ", " 3 aa", "0 aa", "-3 aa", "1.5 aa", "03 aa", f"{2**53} aa", "9" * 17 + " aa", "3 a a",
        "nan aa",
    ],
)  # fmt: skip
def test_a_damaged_key_admits_nothing(redis_server: RedisServer, redis_store: RedisStore, text: str) -> None:
    admitted(redis_store, Highest(3, "aa"))
    with redis_server.client() as client:
        (key,) = redis_store.keys(client)
        client.set(key, text)
        with pytest.raises(StoreUnavailable):
            admitted(redis_store, Highest(2, "bb"))
        client.delete(key)
        client.hset(key, "serial", "3")
        with pytest.raises(StoreUnavailable):
            admitted(redis_store, Highest(2, "bb"))


def test_the_key_never_expires_and_is_no_counter(redis_server: RedisServer, redis_store: RedisStore) -> None:
    admitted(redis_store, Highest(3, "aa"))
    with redis_server.client() as client:
        (key,) = redis_store.keys(client)
        assert client.ttl(key) == -1
        assert client.get(key) == "3 aa"
    assert redis_store.rows() == []


def test_a_server_that_is_not_the_primary_admits_nothing(redis_server: RedisServer, tmp_path: Path) -> None:
    options = ("--replicaof", f"127.0.0.1 {redis_server.port}")
    with RedisServer(tmp_path, *options) as replica:
        with replica.client() as client:
            until(lambda: _is_in_step(client), what="the replica")
        store = RedisStore(replica.dsn, "replica:")
        with pytest.raises(StoreUnavailable, match="read only replica"):
            admitted(store, Highest(3, "aa"))
        with redis_server.client() as client:
            client.set(key_of(store), "5 aa")
        with replica.client() as client:
            until(lambda: client.get(key_of(store)) == "5 aa", what="the replica")
        with pytest.raises(StoreUnavailable, match="read only replica"):
            admitted(store, Highest(3, "aa"))


def key_of(store: RedisStore) -> str:
    """The key of the server `okx`."""
    return f"{store.prefix}|bundle|okx/"


def _is_in_step(client: Redis) -> bool:
    info = client.info("replication")
    assert isinstance(info, dict)
    return str(info["master_link_status"]) == "up"
