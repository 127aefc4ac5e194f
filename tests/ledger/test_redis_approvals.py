"""How approvals stand in Redis: keys, prefixes, commands, rights, what is damaged, and two that race for one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from redis import Redis

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import KEPT, LOST_AFTER, MAX_BRIEF, NoApproval, Unapproved
from sidecar.ledger.protocol import Claim, Exhausted, Moved
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.redis_approvals import MAX_FETCHED
from sidecar.ledger.values import Counter, Seen
from tests.ledger.asking import SHOWN, TERMS, approved, asks, pending, refused, same, says, state, used
from tests.ledger.stores import DAY, Clock, RedisStore, claim, ledger_in, wants
from tests.support.redis_server import RedisServer

Test = Callable[[RedisLedger, Clock], Coroutine[Any, Any, None]]
COUNTER = Counter("stub/t.n", "", DAY)


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as client:
        yield client


@pytest.fixture
def store(redis_server: RedisServer, request: pytest.FixtureRequest) -> RedisStore:
    return RedisStore(redis_server.dsn, f"{request.node.name}:")


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may spoil."""
    with RedisServer(tmp_path) as server:
        yield server


def with_ledger(store: RedisStore, test: Test, clock: Clock | None = None) -> None:
    """Run a test with a ledger."""
    clock = clock or Clock()

    async def run() -> None:
        ledger = store.ledger(clock)
        try:
            await test(ledger, clock)
        finally:
            await ledger.close()

    asyncio.run(run())


def name(store: RedisStore, key: str) -> str:
    """A key of approvals."""
    return f"{store.prefix}|approvals|{key}"


# Who shares what.


def test_two_prefixes_have_approvals_of_their_own(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks(grant=TERMS), grant=True)
        secret = await ledger.approvals.secret()
        async with ledger_in(RedisStore(store.dsn, f"{store.prefix}other:"), clock) as other:
            with pytest.raises(NoApproval):
                await other.approvals.find(record.id)
            assert await other.approvals.records() == []
            assert await other.approvals.grants() == []
            assert await other.approvals.secret() != secret
            await pending(other, asks(grant=TERMS))

    with_ledger(store, test)


def test_two_servers_do_not_use_each_others_approvals(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks(grant=TERMS, server="one"), grant=True)
        await pending(ledger, asks(grant=TERMS, server="other"))
        unknown = await used(ledger, asks(grant=TERMS, server="one"))
        await ledger.approvals.settle(unknown.id, "unknown")
        assert isinstance(await claim(ledger, asks=same(server="other")), Claim)
        assert (await refused(ledger, same(server="one"))).id == unknown.id
        assert [one.asked.server for one in await ledger.approvals.records(server="other")] == ["other"]
        assert (await ledger.approvals.counts("other")).states["unknown"] == 0

    with_ledger(store, test)


@pytest.mark.parametrize("names", [("a|b", "c"), ("a", "b|c"), ("a%7Cb", "c")])
def test_names_with_separators_are_not_mixed_up(redis_server: RedisServer, names: tuple[str, str]) -> None:
    server, call = names
    others = [("a|b", "c"), ("a", "b|c"), ("a%7Cb", "c")]

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks(call, server=server))
        record = await used(ledger, asks(call, server=server))
        await ledger.approvals.settle(record.id, "unknown")
        blocked = [isinstance(await claim(ledger, asks=same(two, server=one)), Unapproved) for one, two in others]
        assert blocked == [other == names for other in others]

    with_ledger(RedisStore(redis_server.dsn, f"names {others.index(names)}:"), test)


def test_the_secret_is_the_same_for_all_who_ask_at_once(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            secrets = await asyncio.gather(*(one.approvals.secret() for one in (ledger, other) for _ in range(10)))
        assert len(set(secrets)) == 1
        assert len(secrets[0]) == 32

    with_ledger(store, test)


def test_who_is_behind_goes_by_the_time_that_another_has_seen(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await pending(ledger, asks(timeout=60))
        ahead = Clock(clock.now + 60)
        async with ledger_in(store, ahead) as other:
            assert await state(other, record) == "expired"
        assert await state(ledger, record) == "expired"
        async with ledger_in(store, Clock(clock.now - 1000)) as restarted:
            assert await state(restarted, record) == "expired"

    with_ledger(store, test)


# Races.


@pytest.mark.parametrize("copies", [50, 200])
def test_of_many_copies_over_two_replicas_one_runs_and_one_takes_from_the_limit(store: RedisStore, copies: int) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            record = await approved(ledger, asks())
            await state(other, record)  # so that both are connected
            both = [ledger, other] * (copies // 2)
            answers = await asyncio.gather(*(claim(one, wants(limit=None), asks=asks()) for one in both))
            taken = [answer for answer in answers if isinstance(answer, Claim)]
            assert [one.approval.id for one in taken if one.approval] == [record.id]
            assert all(isinstance(answer, Claim | Unapproved) for answer in answers)
            assert await ledger.totals((COUNTER,)) == (1,)

    with_ledger(store, test)


def test_different_approvals_that_race_for_one_limit_take_no_more_than_it_has(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            calls = [asks(f"c{number}") for number in range(10)]
            records = [await approved(ledger, one) for one in calls]
            both = zip([ledger, other] * 5, calls, strict=True)
            answers = await asyncio.gather(*(claim(one, wants(limit=3), asks=call) for one, call in both))
            assert sum(isinstance(answer, Claim) for answer in answers) == 3
            assert sum(isinstance(answer, Exhausted) for answer in answers) == 7
            states = [await state(ledger, record) for record in records]
            assert sorted(states) == ["approved"] * 7 + ["in_use"] * 3

    with_ledger(store, test)


def test_two_people_who_answer_at_once_are_both_heard(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            record = await pending(ledger, asks(approvers=2))
            await asyncio.gather(
                ledger.approvals.decide(record.id, says("approve", "alice")),
                other.approvals.decide(record.id, says("approve", "bob")),
            )
            after = await ledger.approvals.find(record.id)
            assert after.state == "approved"
            assert {answer.by for answer in after.answers} == {"alice", "bob"}

    with_ledger(store, test)


def test_two_sweeps_at_once_tell_of_each_end_once(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            records = [await pending(ledger, asks(f"c{number}", timeout=60)) for number in range(20)]
            clock.passes(60)
            swept = await asyncio.gather(ledger.approvals.sweep("here"), other.approvals.sweep("there"))
        assert sorted(one.id for found in swept for one in found) == sorted(one.id for one in records)

    with_ledger(store, test)


# What a call costs, and what Redis has to let it do.


def commands(client: Redis, name: str) -> int:
    """How often a command came."""
    return int(client.info("commandstats").get(f"cmdstat_{name}", {}).get("calls", 0))


def test_a_call_that_needs_no_approval_is_one_command_and_one_that_does_is_two(own_server: RedisServer) -> None:
    with own_server.client() as client:

        async def test(ledger: RedisLedger, clock: Clock) -> None:
            await ledger.check("stub")
            await approved(ledger, asks())
            for call, number in ((same(), 1), (asks(), 2)):
                client.config_resetstat()
                assert isinstance(await claim(ledger, wants(), asks=call), Claim)
                assert commands(client, "evalsha") == number

        with_ledger(RedisStore(own_server.dsn, ""), test)


def test_scripts_that_redis_forgot_are_loaded_again(own_server: RedisServer) -> None:
    with own_server.client() as client:

        async def test(ledger: RedisLedger, clock: Clock) -> None:
            await ledger.check("stub")
            await approved(ledger, asks())
            client.script_flush()
            record = await used(ledger, asks(), wants())
            client.script_flush()
            await ledger.approvals.settle(record.id, "not_run", record.entries)
            assert await ledger.totals((COUNTER,)) == (0,)

        with_ledger(RedisStore(own_server.dsn, ""), test)


RIGHTS = (
    "GET SET DEL EXPIRE ZADD ZREM ZCOUNT ZRANGEBYSCORE ZREMRANGEBYRANK INFO"
    " HGET HSET HSETNX HDEL HEXISTS HINCRBY SADD SREM SMEMBERS ZCARD ZRANGE ZREVRANGE ZREVRANGEBYSCORE ZSCORE"
    " ZREMRANGEBYSCORE EXISTS TYPE EVALSHA SCRIPT|LOAD"
)
"""What the documentation says that the user of the DSN needs."""


def test_the_rights_that_are_documented_are_enough(own_server: RedisServer) -> None:
    with own_server.client() as client:
        rights = [f"+{right.lower()}" for right in RIGHTS.split()]
        client.execute_command("ACL", "SETUSER", "agent", "on", ">pass", "~*", "-@all", *rights)  # type: ignore[no-untyped-call]

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await ledger.check("stub")
        approvals = ledger.approvals
        await approvals.secret()
        await approved(ledger, asks("first", grant=TERMS, notify=True), grant=True)
        record = await used(ledger, asks("first", grant=TERMS), wants())
        await approvals.settle(record.id, "unknown")
        await approvals.resolve(record.id, says("failed"))
        record = await used(ledger, asks("second", grant=TERMS), wants(sliding=True))
        await approvals.settle(record.id, "not_run", record.entries)
        await approvals.revoke((await approvals.grants())[0].id, says("revoke"))
        assert isinstance(await claim(ledger, wants(), asks=same("third")), Claim)
        await pending(ledger, asks("third", notify=True))
        told = await approvals.notices("stub", 1.0, 10)
        await approvals.noticed(told[0].id, None)
        await approvals.noticed(told[1].id, 1.0)
        await approvals.records(changed_after=1.0)
        await approvals.counts("stub")
        clock.passes(3600)
        await approvals.sweep("here")
        clock.passes(2 * KEPT)
        await approvals.sweep("here")
        await approvals.sweep("here")
        assert await approvals.records() == []

    with_ledger(RedisStore(own_server.dsn.replace("redis://", "redis://agent:pass@"), ""), test)


# What stands there, for how long.


def test_no_key_of_approvals_expires_by_itself_and_nothing_stays_of_what_is_old(
    store: RedisStore, client: Redis
) -> None:  # fmt: skip
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks("granted", grant=TERMS, notify=True), grant=True)
        record = await used(ledger, asks("granted", grant=TERMS, notify=True))
        await ledger.approvals.settle(record.id, "consumed")
        await pending(ledger, asks("asked", notify=True))
        denied = await pending(ledger, asks("denied"))
        await ledger.approvals.decide(denied.id, says("deny"))
        assert len(await ledger.approvals.notices("stub", 1.0, 1)) == 1
        assert {client.ttl(key) for key in store.keys(client)} == {-1}
        clock.passes(3600)
        await ledger.approvals.sweep("here")
        clock.passes(KEPT)
        await ledger.approvals.sweep("here")
        assert set(store.keys(client)) == {f"{store.prefix}|approvals", name(store, "heard")}
        assert client.zrange(name(store, "heard"), 0, -1) == ["here"]

    with_ledger(store, test)


def test_the_approval_of_a_standing_one_is_kept_for_as_long_as_that(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        terms = replace(TERMS, seconds=int(3 * KEPT))
        record = await approved(ledger, asks(grant=terms), grant=True)
        await ledger.approvals.settle((await used(ledger, asks(grant=terms))).id, "consumed")
        clock.passes(2 * KEPT)
        await ledger.approvals.sweep("here")
        assert await state(ledger, record) == "consumed"
        assert (await used(ledger, asks("another", grant=terms))).grant == record.id

    with_ledger(store, test)


def test_a_call_whose_question_a_standing_approval_settled_can_use_that_again(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        question = await pending(ledger, asks(grant=TERMS))
        given = await approved(ledger, asks("another", grant=TERMS), grant=True)
        first = await used(ledger, asks(grant=TERMS))
        assert first.id == question.id
        await ledger.approvals.settle(first.id, "consumed")
        second = await used(ledger, asks(grant=TERMS))
        assert second.id != first.id
        assert second.grant == given.id

    with_ledger(store, test)


def test_long_approvals_come_in_several_answers_the_newest_first(own_server: RedisServer) -> None:
    shown = replace(SHOWN, arguments='"' + "x" * (MAX_FETCHED // 3) + '"')

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        records = [await pending(ledger, asks(f"c{number}", shown=shown)) for number in range(8)]
        ids = [record.id for record in reversed(records)]
        assert [one.id for one in await ledger.approvals.records()] == ids
        assert [one.id for one in await ledger.approvals.records(limit=5)] == ids[:5]
        assert [one.id for one in await ledger.approvals.records(["pending"], changed_after=1.0)] == ids
        assert await ledger.approvals.records(limit=0) == []

    with_ledger(RedisStore(own_server.dsn, ""), test)


def test_an_agent_that_asks_again_does_not_write_what_it_asked_again(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await pending(ledger, asks())
        client.hset(name(store, "asked"), record.id, " " + str(client.hget(name(store, "asked"), record.id)))
        assert (await refused(ledger, asks())).asked_times == 2
        assert str(client.hget(name(store, "asked"), record.id)).startswith(" ")

    with_ledger(store, test)


def test_neither_calls_nor_sweeps_read_what_is_long(store: RedisStore, client: Redis) -> None:
    shown = replace(SHOWN, arguments='"' + "x" * (MAX_BRIEF + 1) + '"')

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks(shown=shown))
        client.hset(name(store, "long"), record.id, "damaged")
        await used(ledger, asks(shown=shown))
        clock.passes(LOST_AFTER)
        assert (await refused(ledger, asks(shown=shown))).state == "unknown"
        await pending(ledger, asks("another", timeout=1, shown=shown))
        clock.passes(1)
        client.hset(name(store, "long"), mapping=dict.fromkeys(client.hkeys(name(store, "long")), "damaged"))
        assert [one.state for one in await ledger.approvals.sweep("here")] == ["expired"]
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.find(record.id)

    with_ledger(store, test)


# What is damaged.


@pytest.mark.parametrize("index", ["stands", "asked"])
@pytest.mark.parametrize("text", ["", "{}", "null", "\x00", "gone"])
def test_a_damaged_approval_lets_nothing_through_and_hides_no_other(
    redis_server: RedisServer, client: Redis, request: pytest.FixtureRequest, index: str, text: str
) -> None:
    store = RedisStore(redis_server.dsn, f"damaged-{index}-{text!r}:")

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record, other = await approved(ledger, asks()), await approved(ledger, asks("other"))
        if text == "gone":
            client.hdel(name(store, index), record.id)
        else:
            client.hset(name(store, index), record.id, text)
        for wanted in (asks(), asks()):
            with pytest.raises(StoreUnavailable):
                await claim(ledger, wants(), asks=wanted)
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.find(record.id)
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.decide(record.id, says("deny"))
        assert await ledger.totals((COUNTER,)) == (0,)
        assert [one.id for one in await ledger.approvals.records()] == [other.id]
        assert await ledger.approvals.records(changed_after=1.0) != []
        clock.passes(601)
        assert [one.id for one in await ledger.approvals.sweep("here")] == [other.id]

    with_ledger(store, test)


def test_an_unknown_one_that_is_gone_lets_the_same_call_through_no_more_than_before(
    store: RedisStore, client: Redis
) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks())
        record = await used(ledger, asks())
        await ledger.approvals.settle(record.id, "unknown")
        client.hdel(name(store, "stands"), record.id)
        client.hdel(name(store, "asked"), record.id)
        for wanted in (asks(), same()):
            with pytest.raises(StoreUnavailable, match="not as we wrote it"):
                await claim(ledger, wants(), asks=wanted)

    with_ledger(store, test)


def test_an_approval_of_another_call_is_not_taken_for_this_one(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks("other"))
        client.hset(name(store, "binding"), asks().binding, record.id)
        with pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())

    with_ledger(store, test)


@pytest.mark.parametrize(
    ("field", "value"), [("now", "soon"), ("now", "nan"), ("now", "inf"), ("seq", "first"), ("seq", "1.5")]
)
def test_a_time_or_a_number_that_is_none_lets_nothing_through(
    redis_server: RedisServer, client: Redis, field: str, value: str
) -> None:
    store = RedisStore(redis_server.dsn, f"{field} is {value}:")

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks())
        client.hset(f"{store.prefix}|approvals", field, value)
        with pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())
        assert await ledger.totals((COUNTER,)) == (0,)

    with_ledger(store, test)


@pytest.mark.parametrize("secret", ["", "not hexadecimal", "abcd", "00" * 33])
def test_a_damaged_secret_is_said(redis_server: RedisServer, client: Redis, secret: str) -> None:
    store = RedisStore(redis_server.dsn, f"secret {secret}:")

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await ledger.approvals.secret()
        client.hset(f"{store.prefix}|approvals", "secret", secret)
        with pytest.raises(StoreUnavailable, match="secret"):
            await ledger.approvals.secret()

    with_ledger(store, test)


@pytest.mark.parametrize("key", ["due", "using", "owners", "at|in_use", "unfinished|stub|c", "stands", "changed"])
def test_a_key_that_holds_something_else_is_found_before_anything_is_written(
    redis_server: RedisServer, client: Redis, key: str
) -> None:
    store = RedisStore(redis_server.dsn, f"wrong {key.replace('|', ' ')}:")

    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks())
        clock.passes(1)
        client.delete(name(store, key))
        client.set(name(store, key), "something else")
        before = {one: client.dump(one) for one in store.keys(client) if one != f"{store.prefix}|approvals"}
        with pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())
        assert await ledger.totals((COUNTER,)) == (0,)
        assert {one: client.dump(one) for one in store.keys(client) if one in before} == before

    with_ledger(store, test)


def test_a_counter_that_is_damaged_leaves_the_approval_as_it_is(store: RedisStore, client: Redis) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        await claim(ledger, wants())
        (counter,) = [key for key in store.keys(client) if "|approvals" not in key]
        client.set(counter, "many")
        with pytest.raises(StoreUnavailable, match="no number"):
            await claim(ledger, wants(), asks=asks())
        assert await state(ledger, record) == "approved"

    with_ledger(store, test)


# Counters that a call was judged by.


def test_where_a_counter_has_moved_nobody_is_asked_and_nothing_is_taken(store: RedisStore) -> None:
    async def test(ledger: RedisLedger, clock: Clock) -> None:
        await claim(ledger, wants())
        seen = (Seen(COUNTER, 0),)
        assert isinstance(await claim(ledger, wants(), seen=seen, asks=asks()), Moved)
        assert await ledger.approvals.records() == []
        record = await approved(ledger, asks())
        assert isinstance(await claim(ledger, wants(), seen=seen, asks=asks()), Moved)
        assert await state(ledger, record) == "approved"
        assert isinstance(await claim(ledger, wants(), seen=(Seen(COUNTER, 1),), asks=asks()), Claim)

    with_ledger(store, test)
