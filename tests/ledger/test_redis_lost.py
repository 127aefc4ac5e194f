"""Approvals in Redis when answers get lost, requests come late, and servers change: nothing runs twice or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import LOST_AFTER, Settlement, Unapproved
from sidecar.ledger.protocol import Claim
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.values import Counter
from tests.ledger.asking import TERMS, approved, asks, pending, refused, says, state, used
from tests.ledger.redis_wire import Wire, impatient, wire_to
from tests.ledger.stores import DAY, Clock, RedisStore, claim, ledger_in, wants
from tests.ledger.test_failover import follow, pair
from tests.support.peer import SECONDS, until
from tests.support.redis_server import RedisServer

__all__ = ["pair"]

Test = Callable[[Wire, RedisLedger, Clock], Awaitable[None]]


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    return f"{request.node.name}:"


@pytest.fixture
def run(redis_server: RedisServer, prefix: str) -> Callable[[Test], None]:
    """Runs a test with a ledger behind a wire."""

    def run(test: Test) -> None:
        async def begin() -> None:
            clock = Clock()
            async with wire_to(redis_server, clock, prefix) as (wire, ledger):
                await test(wire, ledger, clock)

        asyncio.run(begin())

    return run


@pytest.fixture
def store(redis_server: RedisServer, prefix: str) -> RedisStore:
    """The same store, without a wire before it."""
    return RedisStore(redis_server.dsn, prefix)


async def total(ledger: RedisLedger) -> object:
    """What was taken from the counter."""
    return (await ledger.totals((Counter("stub/t.n", "", DAY),)))[0]


async def loses(wire: Wire, ledger: RedisLedger) -> None:
    """A claim is taken, and nobody hears that."""
    wire.loses_answers = True
    with pytest.raises(StoreUnavailable):
        await claim(ledger, wants(), asks=asks())
    assert not wire.loses_answers


# A claim whose answer is lost.


def test_a_claim_whose_answer_is_lost_is_released_with_its_limits_by_the_next_sweep(
    run: Callable[[Test], None],
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        await loses(wire, ledger)
        assert (await refused(ledger, asks())).state == "in_use"
        assert await total(ledger) == 1
        (released,) = await ledger.approvals.sweep("here")
        assert (released.id, released.state) == (record.id, "approved")
        assert await total(ledger) == 0
        assert (await used(ledger, asks(), wants())).id == record.id
        assert await ledger.approvals.sweep("here") == ()
        assert await state(ledger, record) == "in_use"

    run(test)


def test_a_use_of_a_standing_approval_whose_answer_is_lost_gives_its_place_back(run: Callable[[Test], None]) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks("first", grant=TERMS), grant=True)
        (before,) = await ledger.approvals.grants()
        wire.loses_answers = True
        with pytest.raises(StoreUnavailable):
            await claim(ledger, asks=asks(grant=TERMS))
        (lost,) = await ledger.approvals.grants()
        assert lost.left == before.left - 1
        (ended,) = await ledger.approvals.sweep("here")
        assert ended.state == "consumed"
        assert await ledger.approvals.grants() == [before]

    run(test)


def test_a_claim_that_comes_late_takes_nothing_any_more_once_its_instance_has_swept(
    run: Callable[[Test], None],
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        wire.holds = True
        with impatient(), pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())
        assert await ledger.approvals.sweep("here") == ()
        wire.go.set()
        await asyncio.wait_for(wire.arrived.wait(), SECONDS)
        assert await state(ledger, record) == "approved"
        assert await total(ledger) == 0

    run(test)


def test_a_claim_that_is_given_up_is_released_by_the_next_sweep(run: Callable[[Test], None]) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        wire.holds = True
        given_up = asyncio.create_task(ledger.claim((wants(),), (), asks()))
        await asyncio.wait_for(wire.held.wait(), SECONDS)
        given_up.cancel()
        with suppress(asyncio.CancelledError):
            await given_up
        wire.go.set()
        await asyncio.wait_for(wire.arrived.wait(), SECONDS)
        assert await state(ledger, record) == "in_use"
        (released,) = await ledger.approvals.sweep("here")
        assert released.state == "approved"
        assert await total(ledger) == 0

    run(test)


def test_a_lost_claim_that_was_not_taken_does_not_release_who_took_the_approval(
    run: Callable[[Test], None], store: RedisStore
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        wire.holds = True
        with impatient(), pytest.raises(StoreUnavailable):
            await claim(ledger, wants(), asks=asks())
        async with ledger_in(store, clock) as other:
            assert (await used(other, asks(), wants())).id == record.id
        wire.go.set()
        await asyncio.wait_for(wire.arrived.wait(), SECONDS)
        assert await ledger.approvals.sweep("here") == ()
        assert await state(ledger, record) == "in_use"
        assert await total(ledger) == 1

    run(test)


def test_a_lost_claim_of_an_instance_that_seemed_to_be_gone_stays_unknown(
    run: Callable[[Test], None], store: RedisStore
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        await loses(wire, ledger)
        clock.passes(LOST_AFTER)
        async with ledger_in(store, clock) as other:
            (lost,) = await other.approvals.sweep("there")
        assert lost.state == "unknown"
        assert await ledger.approvals.sweep("here") == ()
        assert await state(ledger, record) == "unknown"
        await ledger.approvals.resolve(record.id, says("failed"))
        assert await total(ledger) == 0

    run(test)


def test_a_lost_claim_that_cannot_be_released_keeps_nothing_else_from_its_end(
    run: Callable[[Test], None], store: RedisStore, redis_server: RedisServer
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        await loses(wire, ledger)
        over = await pending(ledger, asks("over", timeout=1))
        with redis_server.client() as client:
            (counter,) = [key for key in store.keys(client) if "|approvals" not in key]
            stood = client.get(counter)
            client.set(counter, "many")
            clock.passes(1)
            assert [one.id for one in await ledger.approvals.sweep("here")] == [over.id]
            with pytest.raises(StoreUnavailable, match="no number"):
                await ledger.approvals.sweep("here")
            client.set(counter, str(stood))
        assert [one.id for one in await ledger.approvals.sweep("here")] == [record.id]
        assert await state(ledger, record) == "approved"

    run(test)


# Somebody was quicker.


def test_a_claim_that_was_read_before_another_took_the_approval_gets_nothing(
    run: Callable[[Test], None], store: RedisStore
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        wire.holds = True
        slow = asyncio.create_task(ledger.claim((wants(),), (), asks()))
        await asyncio.wait_for(wire.held.wait(), SECONDS)
        async with ledger_in(store, clock) as other:
            assert (await used(other, asks(), wants())).id == record.id
        wire.go.set()
        answer = await slow
        assert isinstance(answer, Unapproved)
        assert answer.record.state == "in_use"
        assert await total(ledger) == 1

    run(test)


def test_a_denial_that_comes_between_reading_and_writing_wins(run: Callable[[Test], None], store: RedisStore) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        record = await approved(ledger, asks())
        wire.holds = True
        slow = asyncio.create_task(ledger.claim((wants(),), (), asks()))
        await asyncio.wait_for(wire.held.wait(), SECONDS)
        async with ledger_in(store, clock) as other:
            await other.approvals.revoke(record.id, says("revoke"))
        wire.go.set()
        answer = await slow
        assert isinstance(answer, Unapproved)
        assert answer.record.state == "denied"
        assert await total(ledger) == 0

    run(test)


def test_a_call_that_is_unknown_by_now_is_not_taken_with_what_was_read_before(
    run: Callable[[Test], None], store: RedisStore
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        async with ledger_in(store, clock) as other:
            await approved(other, asks("same", holder="other"))
            await approved(ledger, asks("same"))
            wire.holds = True
            slow = asyncio.create_task(ledger.claim((wants(),), (), asks("same")))
            await asyncio.wait_for(wire.held.wait(), SECONDS)
            first = await used(other, asks("same", holder="other"), wants())
            await other.approvals.settle(first.id, "unknown")
        wire.go.set()
        answer = await slow
        assert isinstance(answer, Unapproved)
        assert answer.record.id == first.id

    run(test)


# A settlement whose answer is lost, and is told again.


@pytest.mark.parametrize("how", ["consumed", "not_run", "unknown", "released"])
def test_a_settlement_that_is_told_again_gives_back_once_and_ends_no_other_use(
    run: Callable[[Test], None], store: RedisStore, how: Settlement
) -> None:
    async def test(wire: Wire, ledger: RedisLedger, clock: Clock) -> None:
        await approved(ledger, asks())
        await claim(ledger, wants())
        record = await used(ledger, asks(), wants())
        wire.loses_answers = True
        with pytest.raises(StoreUnavailable):
            await ledger.approvals.settle(record.id, how, record.entries, record.uses)
        async with ledger_in(store, clock) as other:
            if how == "released":
                await used(other, asks(), wants())
            before = await total(ledger)
            expected = await state(ledger, record)
            await ledger.approvals.settle(record.id, how, record.entries, record.uses)
            assert await state(ledger, record) == expected
            assert await total(ledger) == before == (2 if how in ("released", "unknown") else 1)

    run(test)


# Another server is the primary.


@pytest.mark.parametrize(
    ("how", "becomes"), [("consumed", "consumed"), ("not_run", "consumed"), ("unknown", "unknown")]
)
def test_a_use_that_a_failover_forgot_ends_as_it_ended(
    pair: list[RedisServer], how: Settlement, becomes: str
) -> None:  # fmt: skip
    old, new = pair

    async def test() -> None:
        async with wire_to(old, Clock()) as (wire, ledger):
            record = await approved(ledger, asks())
            with new.client() as client:
                until(lambda: client.hget("|approvals|stands", record.id) is not None)
                until(lambda: '"approved"' in str(client.hget("|approvals|stands", record.id)))
                client.replicaof("NO", "ONE")
            taken = await used(ledger, asks(), wants())
            follow(old, new)
            wire.server = new
            await ledger.approvals.settle(taken.id, how, (), taken.uses)
            assert await state(ledger, record) == becomes
            again = await claim(ledger, wants(), asks=asks())
            assert isinstance(again, Unapproved)
            assert again.record.state == ("unknown" if how == "unknown" else "pending")

    asyncio.run(test())


def test_approvals_are_not_read_of_a_server_that_is_not_to_be_written_to(pair: list[RedisServer]) -> None:
    old, new = pair

    async def test() -> None:
        async with wire_to(old, Clock()) as (wire, ledger):
            record = await approved(ledger, asks())
            with new.client() as client:
                until(lambda: '"approved"' in str(client.hget("|approvals|stands", record.id)))
                client.replicaof("NO", "ONE")
            async with ledger_in(RedisStore(new.dsn, "")) as at_new:
                await at_new.approvals.revoke(record.id, says("revoke"))
            with old.client() as client:
                client.replicaof("127.0.0.1", 1)  # it hears of nothing more, and has it as approved
            wire.server = new
            assert (await ledger.approvals.find(record.id)).state == "denied"
            assert (await refused(ledger, asks())).state == "denied"

    asyncio.run(test())


@pytest.mark.parametrize(
    ("option", "value", "why"), [("min-replicas-to-write", 1, "NOREPLICAS"), ("maxmemory", 1, "maxmemory")]
)
def test_a_server_that_refuses_to_write_takes_nothing_and_asks_nobody(
    tmp_path: Path, option: str, value: int, why: str
) -> None:
    with RedisServer(tmp_path) as server, server.client() as client:

        async def test() -> None:
            async with ledger_in(RedisStore(server.dsn, "")) as ledger:
                assert isinstance(ledger, RedisLedger)
                record = await approved(ledger, asks())
                client.config_set(option, value)
                for wanted in (asks(), asks("another")):
                    with pytest.raises(StoreUnavailable, match=why):
                        await claim(ledger, wants(), asks=wanted)
                client.config_set(option, 0)
                assert await state(ledger, record) == "approved"
                assert await total(ledger) == 0
                assert len(await ledger.approvals.records()) == 1

        asyncio.run(test())


def test_how_a_call_ended_is_noted_by_a_server_that_has_no_memory_left(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server, server.client() as client:

        async def test() -> None:
            async with ledger_in(RedisStore(server.dsn, "")) as ledger:
                assert isinstance(ledger, RedisLedger)
                await approved(ledger, asks())
                record = await used(ledger, asks(), wants())
                client.config_set("maxmemory", 1)
                await ledger.approvals.settle(record.id, "not_run", record.entries, record.uses)
                assert await state(ledger, record) == "consumed"
                assert await total(ledger) == 0

        asyncio.run(test())


def test_what_was_approved_stands_after_redis_was_killed(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:

        async def test() -> None:
            async with ledger_in(RedisStore(server.dsn, "")) as ledger:
                record = await approved(ledger, asks())
                server.kill()
                with pytest.raises(StoreUnavailable):
                    await claim(ledger, wants(), asks=asks())
                with pytest.raises(StoreUnavailable):
                    await ledger.approvals.sweep("here")
                assert server.start()
                assert isinstance(taken := await claim(ledger, wants(), asks=asks()), Claim)
                assert taken.approval is not None
                assert taken.approval.id == record.id

        asyncio.run(test())
