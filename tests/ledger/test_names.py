"""Names of counters: another one for each server and counter, and none forgotten when they were called otherwise."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger.keys import check_prefix, key
from sidecar.ledger.names import MAX_TOOL, carried_over, of_server, of_tool
from sidecar.ledger.protocol import Exhausted
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.values import Amount, Counter, Reservation
from tests.ledger.stores import DAY, NOON, Clock, RedisStore, SqliteStore, claim, claims, ledger_in, wants
from tests.support.fuzzing import examples
from tests.support.redis_server import RedisServer

NAMES = st.text(st.sampled_from("ab/%:|.2F5é"), max_size=6)


def test_a_slash_in_a_servers_name_is_not_the_one_before_the_tool() -> None:
    assert of_server("a") + "b/c.n" != of_server("a/b") + "c.n"
    assert of_server("okx") + "t.n" == "okx/t.n"


@st.composite
def parted(draw: st.DrawFn, *, at: str) -> list[tuple[str, str]]:
    """Two different pairs that a careless writer makes the same text of: one text, parted at two of its places."""
    pieces = draw(st.lists(st.text(st.sampled_from("ab%2F|3A/:"), max_size=3), min_size=3, max_size=5))
    places = draw(st.lists(st.integers(1, len(pieces) - 1), min_size=2, max_size=2, unique=True))
    return [(at.join(pieces[:place]), at.join(pieces[place:])) for place in places]


ENCODED = st.tuples(NAMES.filter(lambda name: set(name) & set("/%:")), NAMES).map(
    lambda pair: [pair, (of_server(pair[0]).removesuffix("/"), pair[1])]
)
"""A server, and another that is really called what the first one's name is written as."""


@pytest.mark.fuzz
@given(pairs=st.lists(st.tuples(NAMES, NAMES), min_size=2, max_size=2, unique=True) | parted(at="/") | ENCODED)
@examples(500)
def test_different_servers_or_counters_have_different_names(pairs: list[tuple[str, str]]) -> None:
    one, other = (of_server(server) + counter for server, counter in pairs)
    assert one != other


TOOLS = st.text(st.sampled_from('a".#\\/|é'), max_size=5)


def name_in_facts(entry: str, counter: str) -> str:
    """The name of a counter as a policy's facts write it."""
    return f"{json.dumps(entry) if entry.startswith(chr(34)) else entry}.{counter}"


counters = st.builds(name_in_facts, TOOLS, st.text(st.sampled_from('a_"'), min_size=1, max_size=3))


@st.composite
def parted_counters(draw: st.DrawFn) -> list[tuple[str, str]]:
    """Two different pairs of a counter and a tool that are the same text, one behind the other."""
    text = draw(st.text(st.sampled_from('a".#'), min_size=2, max_size=5))
    places = draw(st.lists(st.integers(0, len(text)), min_size=2, max_size=2, unique=True))
    return [(f"a.n{text[:place]}", text[place:]) for place in places]


@pytest.mark.fuzz
@given(pairs=st.lists(st.tuples(counters, TOOLS), min_size=2, max_size=2, unique=True) | parted_counters())
@examples(500)
def test_a_counter_of_each_tool_shares_its_name_with_no_other(pairs: list[tuple[str, str]]) -> None:
    one, other = pairs
    assert of_tool(*one) != of_tool(*other)
    assert not {of_tool(*one), of_tool(*other)} & {one[0], other[0]}


@pytest.mark.parametrize(("careless", "counter", "tool"), [
    (name_in_facts("x*", 'n"t"'), "x*.n", "t"),
    (name_in_facts('"\\"a".n', "k"), name_in_facts('"a', "n"), ".k"),
    (name_in_facts("x*", "nt"), "x*.n", "t"),
])  # fmt: skip
def test_a_counter_that_is_called_as_a_careless_writer_would_call_another_is_not_it(
    careless: str, counter: str, tool: str
) -> None:
    assert careless in {counter + json.dumps(tool), json.dumps(counter) + tool, counter + tool}
    assert of_tool(counter, tool) != careless


def test_a_tool_with_a_long_name_has_a_short_one_in_the_store() -> None:
    names = [of_tool("x*.n", "x" * length) for length in (MAX_TOOL, MAX_TOOL + 1, MAX_TOOL + 2, 1 << 20)]
    assert len(set(names)) == 4
    assert max(map(len, names)) < 2 * MAX_TOOL
    assert of_tool("x*.n", "xy") == '"x*.n""xy"'


@pytest.mark.fuzz
@given(server=NAMES, counter=NAMES)
@examples(500)
def test_whatever_a_counter_was_called_its_name_of_now_is_among_those_it_is_carried_over_to(
    server: str, counter: str
) -> None:
    old = f"{server}/{counter}"
    assert of_server(server) + counter in {old, *carried_over(old)}


def old_store(path: Path, *rows: tuple[str, str, int, int, str]) -> None:
    """A store as it was before servers' names were encoded."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(
            "CREATE TABLE counters (counter TEXT NOT NULL, holder TEXT NOT NULL, window INTEGER NOT NULL, start INTEGER"
            " NOT NULL, total TEXT NOT NULL, PRIMARY KEY (counter, holder, window, start)) WITHOUT ROWID"
        )
        db.executemany("INSERT INTO counters VALUES (?, ?, ?, ?, ?)", rows)


def of(server: str, counter: str, limit: int = 3) -> Reservation:
    """One of a server's counter."""
    return wants(of_server(server) + counter, window=60, limit=limit)


def test_what_was_counted_under_an_old_name_goes_on_under_the_new_one_and_is_not_doubled(tmp_path: Path) -> None:
    path = tmp_path / "counters.db"
    old_store(
        path, ("plain/t.n", "", 60, NOON, "2"), ("io.github/okx/t.n", "", 60, NOON, "2"), ("50%/t.n", "", 60, NOON, "2")
    )

    async def test() -> None:
        for server in ("plain", "io.github/okx", "50%"):
            async with ledger_in(SqliteStore(path)) as ledger:
                assert (await claims(ledger, of(server, "t.n"))).totals == (3,)
                assert isinstance(await claim(ledger, of(server, "t.n")), Exhausted)

    asyncio.run(test())


def test_names_are_carried_over_once(tmp_path: Path) -> None:
    path = tmp_path / "counters.db"
    old_store(path)

    async def test() -> None:
        async with ledger_in(SqliteStore(path)) as ledger:
            await claims(ledger, of("a", "b/c.n"))
        async with ledger_in(SqliteStore(path)) as ledger:
            assert (await claims(ledger, of("a/b", "c.n"))).totals == (1,)

    asyncio.run(test())


@pytest.mark.parametrize(
    ("one", "other", "stands"),
    [
        ("5", "1", "5"),
        ("1", "5", "5"),
        ("10", "9", "10"),
        ("0.5", "1E+1", "1E+1"),
        ("many", "1", None),
        ("1", "-9", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize(("server", "alike"), [("a%", "a%25"), ("a:b", "a%3Ab")])
def test_of_two_servers_that_were_called_alike_the_greater_total_stays(
    tmp_path: Path, server: str, alike: str, one: str, other: str, stands: str | None
) -> None:
    path = tmp_path / "counters.db"

    async def totals(of: str) -> tuple[Amount, ...]:
        async with ledger_in(SqliteStore(path)) as ledger:
            return await ledger.totals((Counter(of_server(of) + "t.n", "", DAY),))

    old_store(path)
    with closing(sqlite3.connect(path)) as db, db:
        for name, total in ((server, one), (alike, other)):
            db.execute("INSERT INTO counters VALUES (?, '', ?, ?, ?)", (f"{name}/t.n", DAY, NOON - DAY // 2, total))
    if stands is None:
        with pytest.raises(StoreUnavailable, match="no number"):
            asyncio.run(totals(server))
    else:
        assert asyncio.run(totals(server)) == (Decimal(stands),)
        assert asyncio.run(totals(alike)) == (Decimal(other),)


# In Redis.


@pytest.mark.parametrize(("one", "other"), [(5, 1), (1, 5), (10, 9)])
@pytest.mark.parametrize(("server", "alike"), [("a%", "a%25"), ("a:b", "a%3Ab")])
def test_of_two_servers_that_were_called_alike_the_greater_total_stays_in_redis(
    redis_server: RedisServer, server: str, alike: str, one: int, other: int
) -> None:
    store = RedisStore(redis_server.dsn, f"alike{one}{other}{len(server)}:")

    async def test() -> None:
        for name, least in ((server, max(one, other)), (alike, other)):
            ledger = store.ledger(Clock())
            try:
                await ledger.check(name)
                (total,) = await ledger.totals((Counter(of_server(name) + "t.n", "", DAY),))
                assert total >= least
            finally:
                await ledger.close()

    with redis_server.client() as client:
        for name, number in ((server, one), (alike, other)):
            client.set(key(store.prefix, f"{name}/t.n", "", DAY, NOON - DAY // 2), str(number) + "0" * 63, ex=100)
        asyncio.run(test())


@pytest.mark.parametrize("damaged", [0, 1])
def test_of_two_totals_in_redis_one_that_is_damaged_stays(redis_server: RedisServer, damaged: int) -> None:
    store = RedisStore(redis_server.dsn, f"damaged{damaged}:")

    async def test() -> None:
        ledger = store.ledger(Clock())
        try:
            await ledger.check("a%")
            with pytest.raises(StoreUnavailable, match="no number"):
                await ledger.totals((Counter(of_server("a%") + "t.n", "", DAY),))
        finally:
            await ledger.close()

    with redis_server.client() as client:
        for place, name in enumerate(("a%", "a%25")):
            total = "many" if place == damaged else "1"
            client.set(key(store.prefix, f"{name}/t.n", "", DAY, NOON - DAY // 2), total, ex=100)
        asyncio.run(test())


STARTS = st.none() | st.integers(0, 12)
PLACES = st.tuples(NAMES, NAMES, NAMES, st.integers(1, 12), STARTS)


@pytest.mark.fuzz
@given(places=st.lists(PLACES, min_size=2, max_size=2, unique=True))
@examples(500)
def test_different_counters_have_different_keys(places: list[tuple[str, str, str, int, int | None]]) -> None:
    one, other = (
        key("", of_server(server) + counter, holder, window, start) for server, counter, holder, window, start in places
    )
    assert one != other


@pytest.mark.fuzz
@given(parts=parted(at="|"), numbers=st.tuples(st.integers(1, 12), STARTS))
@examples(500)
def test_a_bar_in_a_name_or_a_holder_is_not_the_one_between_them(
    parts: list[tuple[str, str]], numbers: tuple[int, int | None]
) -> None:
    one, other = (key("", counter, holder, *numbers) for counter, holder in parts)
    assert one != other


@pytest.mark.fuzz
@given(parts=parted(at=":"))
@examples(500)
def test_a_colon_in_a_servers_name_is_not_the_end_of_a_prefix(parts: list[tuple[str, str]]) -> None:
    prefixes = [(re.sub("[/|]", "", prefix) + ":", server) for prefix, server in parts]
    for prefix, _ in prefixes:
        check_prefix(prefix)
    one, other = (key(prefix, of_server(server) + "t.n", "", 60, 0) for prefix, server in prefixes)
    assert one != other or prefixes[0] == prefixes[1]


@pytest.mark.parametrize("prefix", ["team", "a/b:", "a|b:", "a:b", ":x"])
def test_a_prefix_that_could_be_taken_for_a_part_of_a_name_is_refused(prefix: str) -> None:
    with pytest.raises(StoreUnavailable, match="write --state-prefix team:"):
        check_prefix(prefix)


@pytest.mark.parametrize("server", ["io.github/okx", "50%", "h:80", "a*[b]/c"])
def test_what_stands_in_redis_under_an_old_name_goes_on_under_the_new_one(
    redis_server: RedisServer, server: str
) -> None:
    store = RedisStore(redis_server.dsn, f"{server.translate({47: '-', 58: '-'})}:")
    old = key(store.prefix, f"{server}/t.n", "s|1", 60, NOON)

    async def test() -> None:
        for _ in range(2):
            ledger = store.ledger(Clock())
            try:
                await ledger.check(server)
                wanted = wants(of_server(server) + "t.n", window=60, limit=4, holder="s|1")
                totals.append((await claims(ledger, wanted)).totals[0])
            finally:
                await ledger.close()

    totals: list[object] = []
    with redis_server.client() as client:
        client.set(old, "2" + "0" * 63, ex=100)
        client.set(key(store.prefix, "another/t.n", "", 60, NOON), "9", ex=100)
        asyncio.run(test())
        assert totals == [3, 4]
        assert 0 < client.ttl(old) <= 100


def test_what_slides_is_not_carried_over_and_stands_in_nobodys_way(redis_server: RedisServer) -> None:
    store = RedisStore(redis_server.dsn, "sliding names:")
    slides = wants(of_server("a") + "b/t.n", window=60, sliding=True)  # as the old names of the server a/b begin

    async def test() -> None:
        ledger = store.ledger(Clock())
        try:
            await claims(ledger, slides)
            await ledger.check("a/b")
            assert (await claims(ledger, slides)).totals == (2,)
            new = Counter(of_server("a/b") + "t.n", "", 60, sliding=True)
            assert await ledger.totals((new,)) == (0,)
        finally:
            await ledger.close()

    asyncio.run(test())


def test_a_name_that_is_what_it_was_costs_no_look_at_all_keys(redis_server: RedisServer) -> None:
    async def test() -> None:
        ledger = RedisLedger(redis_server.dsn, "plain:", Clock())
        try:
            await ledger.check("plain")
        finally:
            await ledger.close()

    with redis_server.client() as client:
        client.config_resetstat()
        asyncio.run(test())
        assert "cmdstat_scan" not in client.info("commandstats")
