"""The ledger in Redis: arithmetic by digits, keys that expire, what comes back by itself, and no secret told."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Coroutine, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from sidecar.errors import StoreUnavailable
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.redis_counters import PLACES
from sidecar.ledger.scripts import ARITHMETIC
from sidecar.ledger.values import Counter, Seen
from tests.ledger.redis_wire import impatient
from tests.ledger.stores import DAY, EXACT, NOON, Clock, RedisStore, claims, ledger_in, position, wants
from tests.support.peer import SECONDS, stopped, until
from tests.support.redis_server import RedisServer

Test = Callable[[RedisLedger], Coroutine[Any, Any, None]]


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may spoil."""
    with RedisServer(tmp_path) as server:
        yield server


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
def store(redis_server: RedisServer, request: pytest.FixtureRequest) -> RedisStore:
    return RedisStore(redis_server.dsn, f"{request.node.name}:")


def with_ledger(store: RedisStore, test: Test) -> None:
    """Run a test with a ledger."""

    async def run() -> None:
        ledger = store.ledger(Clock())
        try:
            await test(ledger)
        finally:
            await ledger.close()

    asyncio.run(run())


def refusal(dsn: str) -> str:
    """What is said of a store that cannot be used."""

    async def check() -> None:
        async with ledger_in(RedisStore(dsn, "")) as ledger:
            assert isinstance(ledger, RedisLedger)
            await ledger.check("stub")

    with pytest.raises(StoreUnavailable) as raised:
        asyncio.run(check())
    return str(raised.value)


# Arithmetic.

NATURALS = st.one_of(
    st.integers(0, 10**6),
    st.integers(0, 10**100),
    st.builds(lambda power, more: max(0, 10**power + more), st.integers(0, 100), st.integers(-2, 2)),
)


@given(one=NATURALS, other=NATURALS)
@settings(deadline=None, max_examples=300)
def test_digits_are_added_subtracted_and_compared_exactly(redis_server: RedisServer, one: int, other: int) -> None:
    script = f"{ARITHMETIC} return {{add(KEYS[1], KEYS[2]), subtract(KEYS[1], KEYS[2]), at_most(KEYS[1], KEYS[2])}}"
    with redis_server.client() as client:
        answer = client.eval(script, 2, str(one), str(other))
    assert answer == [str(one + other), str(max(0, one - other)), 1 if one <= other else None]


MANY = st.one_of(
    st.lists(NATURALS, max_size=70),
    st.builds(
        lambda one, count: [one] * count, NATURALS | st.sampled_from([10**14 - 1, 10**70 - 1]), st.integers(0, 300)
    ),
)


@given(numbers=MANY)
@settings(deadline=None, max_examples=200)
def test_many_numbers_are_added_exactly(redis_server: RedisServer, numbers: list[int]) -> None:
    with redis_server.client() as client:
        answer = client.eval(f"{ARITHMETIC} return sum(KEYS)", len(numbers), *map(str, numbers))
    assert answer == str(sum(numbers))


@given(
    amounts=st.lists(
        st.builds(
            lambda digits, power: Decimal(digits).scaleb(power), st.integers(0, 10**33 - 1), st.integers(-PLACES, -2)
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(deadline=None, max_examples=50)
def test_a_total_is_what_decimal_says(redis_server: RedisServer, amounts: list[Decimal]) -> None:
    store = RedisStore(redis_server.dsn, f"sum-{amounts}:")
    exact = sum(int(amount.scaleb(PLACES, EXACT)) for amount in amounts)

    async def test(ledger: RedisLedger) -> None:
        for amount in amounts:
            claim = await claims(ledger, wants(amount=amount, limit=None))
        assert int(Decimal(claim.totals[0]).scaleb(PLACES, EXACT)) == exact

    with_ledger(store, test)


# Keys.


def test_keys_have_the_prefix_and_say_what_they_count(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger) -> None:
        await claims(ledger, wants("okx/a.b|c", holder="s", window=60))

    with_ledger(store, test)
    assert store.keys(client) == [f"{store.prefix}okx/a.b%7Cc|s|60|{NOON}"]


def test_two_prefixes_are_counted_apart(store: RedisStore) -> None:
    async def test(ledger: RedisLedger) -> None:
        assert (await claims(ledger, wants(limit=1))).totals == (1,)

    with_ledger(store, test)
    with_ledger(RedisStore(store.dsn, store.prefix + "other:"), test)


@pytest.mark.parametrize(("window", "kept"), [(1, 168), (60, 168 * 60), (DAY, 7 * DAY), (30 * DAY, 60 * DAY)])
def test_a_window_expires_some_windows_after_its_end(
    store: RedisStore, client: Redis, window: int, kept: int
) -> None:  # fmt: skip
    async def test(ledger: RedisLedger) -> None:
        taken = await claims(ledger, wants(window=window), wants("given back", window=window))
        await ledger.give_back(taken.entries[1:])

    with_ledger(store, test)
    left = [client.ttl(key) for key in store.keys(client)]
    assert len(left) == 2
    assert all(kept - SECONDS < seconds <= kept + window for seconds in left)


def test_giving_back_into_a_window_that_has_expired_makes_no_new_one(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger) -> None:
        taken = await claims(ledger, wants("a"), wants("b"))
        (key,) = [key for key in store.keys(client) if "b|" in key]
        client.pexpire(key, 1)
        until(lambda: not client.exists(key))
        await ledger.give_back(taken.entries)
        assert [(row[0], row[4]) for row in store.rows()] == [("a", 0)]

    with_ledger(store, test)


@pytest.mark.parametrize("total", ["many", "-5", "1.5", "", "nan", "1e3", "9" * 5000])
def test_a_total_that_is_no_number_lets_nothing_through(store: RedisStore, client: Redis, total: str) -> None:
    async def test(ledger: RedisLedger) -> None:
        taken = await claims(ledger, wants("a"), wants("b"))
        (key,) = [key for key in store.keys(client) if "b|" in key]
        client.set(key, total)
        with pytest.raises(StoreUnavailable, match="no number"):
            await ledger.totals((Counter("b", "", DAY),))
        if len(total) > 1000:
            assert await position(ledger, wants("a"), wants("b")) == 1
            return
        with pytest.raises(StoreUnavailable, match="no number"):
            await ledger.claim((wants("a"), wants("b")))
        with pytest.raises(StoreUnavailable, match="no number"):
            await ledger.give_back(taken.entries)
        assert client.get(key) == total
        assert (await claims(ledger, wants("a"))).totals == (2,)

    with_ledger(store, test)


# Scripts.


def test_scripts_that_redis_forgot_are_loaded_again(own_server: RedisServer) -> None:
    with own_server.client() as client:

        async def test(ledger: RedisLedger) -> None:
            await ledger.check("stub")
            client.script_flush()
            taken = await claims(ledger, wants())
            client.script_flush()
            await ledger.give_back(taken.entries)
            assert (await claims(ledger, wants())).totals == (1,)

        with_ledger(RedisStore(own_server.dsn, ""), test)


@pytest.mark.parametrize("number", [1, 20])
def test_a_claim_is_one_command_however_many_counters_it_takes(own_server: RedisServer, number: int) -> None:
    with own_server.client() as client:

        async def test(ledger: RedisLedger) -> None:
            await ledger.check("stub")
            client.config_resetstat()
            await claims(ledger, *(wants(f"c{index}") for index in range(number)))
            commands = client.info("commandstats")
            assert commands["cmdstat_evalsha"]["calls"] == 1
            sent = {name for name in commands if name not in ("cmdstat_get", "cmdstat_set")}  # the script's own
            assert sent == {"cmdstat_evalsha", "cmdstat_config|resetstat"}

        with_ledger(RedisStore(own_server.dsn, ""), test)


# When it is gone, or does not answer.


def test_a_redis_that_was_killed_is_used_again_when_it_is_back_and_has_lost_nothing(own_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        taken = await claims(ledger, wants(), wants("b"))
        own_server.kill()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=rf"at 127\.0\.0\.1:{own_server.port} cannot be used"):
                await ledger.claim((wants(),))
            with pytest.raises(StoreUnavailable):
                await ledger.give_back(taken.entries)
            with pytest.raises(StoreUnavailable):
                await ledger.totals((Counter("b", "", DAY),))
        assert own_server.start()
        assert (await claims(ledger, wants())).totals == (2,)

    with_ledger(RedisStore(own_server.dsn, ""), test)


def test_waiting_for_a_redis_that_hangs_is_bounded_and_holds_up_nobody(own_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await claims(ledger, wants(limit=None))
        with stopped(own_server.pid), impatient():
            waiting = [asyncio.create_task(ledger.claim((wants(limit=None),))) for _ in range(20)]
            done, _ = await asyncio.wait(waiting, timeout=0.05)  # the loop goes on meanwhile
            assert not done
            results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 10)
        assert {type(result) for result in results} == {StoreUnavailable}
        # No late answer to one of them is taken for the answer to another.
        assert (await claims(ledger, wants("other", limit=5))).totals == (1,)

    with_ledger(RedisStore(own_server.dsn, ""), test)


def test_a_claim_that_is_given_up_does_not_leave_its_answer_to_the_next(store: RedisStore) -> None:
    async def test(ledger: RedisLedger) -> None:
        for number in range(1, 30):
            given_up = asyncio.create_task(ledger.claim((wants("given up", limit=None, amount=1000),)))
            for _ in range(number % 10):
                await asyncio.sleep(0)
            given_up.cancel()
            assert (await claims(ledger, wants(limit=None))).totals == (number,)

    with_ledger(store, test)


# Addresses, passwords, TLS.

PASSWORD = "hunter2"


@pytest.mark.parametrize(
    "dsn",
    [
        "", "localhost", "http://localhost", "redis://", "redis:///0", "redis://h:port", "redis://h:99999", "redis://h/x",
        "redis://h#0", "redis://h?socket_timeout=99", "redis://h?retry_on_timeout=yes", "redis://h?ssl_ca_certs=f",
        "rediss://h?ssl_nonsense=1", "rediss://h?ssl_cert_reqs=maybe", "redis://h?db=x", "unix://relative",
        f"redis://:{PASSWORD}/x@h", f"redis://:{PASSWORD}#x@h", f"redis://:x/{PASSWORD}@h", f"redis://:{PASSWORD}?x@h",
        f"redis://h:{PASSWORD}", f"redis://h?password={PASSWORD}", f"redis://x@{PASSWORD}@h",
    ],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused_without_repeating_it(dsn: str) -> None:
    message = refusal(dsn)
    assert "the address of the store is wrong: write redis://" in message
    assert PASSWORD not in message


def test_a_password_opens_and_a_wrong_one_is_not_repeated(tmp_path: Path) -> None:
    with RedisServer(tmp_path, password="it's-secret") as server:

        async def test(ledger: RedisLedger) -> None:
            await ledger.check("stub")
            assert (await claims(ledger, wants())).totals == (1,)

        with_ledger(RedisStore(server.dsn, ""), test)
        assert "Authentication required" in refusal(f"redis://127.0.0.1:{server.port}")
        for wrong in (f"redis://:{PASSWORD}@127.0.0.1:{server.port}", f"redis://x:{PASSWORD}@127.0.0.1:{server.port}"):
            message = refusal(wrong)
            assert "invalid" in message
            assert PASSWORD not in message


def test_nobody_there_is_said_with_the_place_and_without_the_password() -> None:
    message = refusal(f"redis://:{PASSWORD}@127.0.0.1:1/0")
    assert message.startswith("the store of counters at 127.0.0.1:1 cannot be used: ")
    assert PASSWORD not in message


def test_a_unix_socket_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path, "--unixsocket", str(path)):

        async def test(ledger: RedisLedger) -> None:
            assert (await claims(ledger, wants())).totals == (1,)

        with_ledger(RedisStore(f"unix://{path}", ""), test)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate for localhost, its own authority, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2",
            "-keyout", "key.pem", "-out", "cert.pem",
        ],
        cwd=folder, check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder


def test_tls_is_spoken_with_a_server_that_can_prove_itself_and_with_no_other(tmp_path: Path, certificate: Path) -> None:
    with RedisServer(tmp_path, tls=certificate, password=PASSWORD) as server:

        async def test(ledger: RedisLedger) -> None:
            await ledger.check("stub")
            taken = await claims(ledger, wants())
            await ledger.give_back(taken.entries)
            assert (await claims(ledger, wants())).totals == (1,)

        with_ledger(RedisStore(server.dsn, ""), test)
        unproven = server.dsn.partition("?")[0]
        for dsn in (unproven, server.dsn.replace("localhost", "127.0.0.1")):
            message = refusal(dsn)
            assert "certificate verify failed" in message
            assert PASSWORD not in message
        refusal(unproven.replace("rediss:", "redis:"))


def test_a_redis_without_tls_is_no_answer_to_tls(redis_server: RedisServer) -> None:
    refusal(f"rediss://127.0.0.1:{redis_server.port}/0")


def test_a_key_that_holds_something_else_is_a_store_that_cannot_be_used(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger) -> None:
        await claims(ledger, wants("b"))
        (key,) = store.keys(client)
        client.delete(key)
        client.rpush(key, "x")
        with pytest.raises(StoreUnavailable):
            await ledger.totals((Counter("a", "", DAY), Counter("b", "", DAY)))
        with pytest.raises(StoreUnavailable):
            await ledger.claim((), (Seen(Counter("b", "", DAY), 0),))
        with pytest.raises(StoreUnavailable):
            await ledger.claim((wants("b"),))

    with_ledger(store, test)
