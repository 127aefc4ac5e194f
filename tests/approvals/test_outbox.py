"""What the store has for webhooks reaches them: each thing once, again until it is taken, by whoever is there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from typing import Any

import pytest

from sidecar.approvals import outbox
from sidecar.approvals.outbox import AT_ONCE, BUSY_FOR, Outbox
from sidecar.approvals.webhook import TRIED_FOR, Webhook, signed
from sidecar.errors import StoreUnavailable
from sidecar.events import NoticeSent
from sidecar.ledger.protocol import Ledger
from tests.approvals.calls import asked
from tests.approvals.kept import Heard, Place, ask, keeping, notified, says, until
from tests.ledger.stores import Clock
from tests.support.receiver import Receiver, receiving, status

SECRET = b"k" * 32
PAGE = "https://desk.example.com"


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a test."""
    asyncio.run(work)


class World:
    """A store, a clock, a receiver, and the sidecars that tell it."""

    def __init__(self, ledger: Ledger, clock: Clock, receiver: Receiver) -> None:
        self.ledger = ledger
        self.clock = clock
        self.receiver = receiver
        self.heard = Heard()
        self.hook = Webhook(receiver.url, SECRET)
        self.outbox = self.another()

    def another(self, ledger: Ledger | None = None) -> Outbox:
        """One more sidecar."""
        return Outbox("okx", ledger or self.ledger, PAGE, self.heard, self.clock)

    async def look(self, *outboxes: Outbox) -> list[dict[str, Any]]:
        """Look once, and wait until it is known what became of that: all bodies that came so far."""
        for one in outboxes or (self.outbox,):
            await one.look(self.hook)
        for one in outboxes or (self.outbox,):
            await one.finish(10)
        return [json.loads(got.body) for got in self.receiver.got]

    @property
    def sent(self) -> list[NoticeSent]:
        """What became of each attempt."""
        return [event for event in self.heard.events if isinstance(event, NoticeSent)]


def test_a_call_that_waits_is_told_with_its_page_and_then_how_it_was_decided(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                record = await ask(ledger, notified())
                (first,) = await world.look()
                assert (first["event"], first["approval"]["state"]) == ("approval.pending", "pending")
                assert first["url"] == f"{PAGE}/approvals/{record.id}"
                await ledger.approvals.decide(record.id, says("deny"))
                _, second = await world.look()
                assert (second["event"], second["approval"]["state"]) == ("approval.decided", "denied")
                assert second["approval"]["answers"][0]["by"] == "alice"
                assert len(await world.look()) == 2
                assert [(one.event, one.attempts, one.why) for one in world.sent] == [
                    ("pending", 1, ""),
                    ("decided", 1, ""),
                ]

    run(told())


def test_what_expired_is_told(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                await ask(ledger, notified(asked(timeout=60)))
                await world.look()
                clock.now += 60
                await ledger.approvals.sweep("i")
                assert [body["event"] for body in await world.look()] == ["approval.pending", "approval.expired"]

    run(told())


def test_where_no_webhook_is_named_nothing_is_told(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                await ask(ledger, asked())
                assert await World(ledger, clock, receiver).look() == []

    run(told())


def test_the_signature_is_over_what_was_sent_when_it_was_sent(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                await ask(ledger, notified())
                await World(ledger, clock, receiver).look()
                (got,) = receiver.got
                expected = signed(SECRET, got.headers["webhook-id"], int(clock.now), got.body)
                assert {name: got.headers[name] for name in expected} == expected

    run(told())


def test_what_is_not_taken_is_told_again_later_under_the_same_id_and_with_a_new_time(place: Place) -> None:
    async def told() -> None:
        with receiving(status(500), status(302), status(200)) as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                await ask(ledger, notified())
                for pause, came in ((0, 1), (0.5, 1), (0.6, 2), (4, 2), (1.1, 3), (60, 3)):
                    clock.now += pause
                    assert len(await world.look()) == came
                ids = {got.headers["webhook-id"] for got in receiver.got}
                times = [int(got.headers["webhook-timestamp"]) for got in receiver.got]
                assert len(ids) == 1
                assert times == sorted(set(times))
                assert [(one.attempts, bool(one.why), one.given_up) for one in world.sent] == [
                    (1, True, False),
                    (2, True, False),
                    (3, False, False),
                ]

    run(told())


def test_after_a_restart_it_goes_on_where_it_was(place: Place) -> None:
    async def told() -> None:
        clock = Clock()
        with receiving(status(500), status(204)) as receiver:
            for attempts in (1, 2):
                async with keeping(place, clock) as ledger:
                    world = World(ledger, clock, receiver)
                    if attempts == 1:
                        await ask(ledger, notified())
                    await world.look()
                    assert [one.attempts for one in world.sent] == [attempts]
                clock.now += 5
            assert len({got.headers["webhook-id"] for got in receiver.got}) == 1

    run(told())


def test_two_sidecars_on_one_store_tell_each_thing_once(place: Place) -> None:
    async def told() -> None:
        clock = Clock()
        with receiving() as receiver:
            async with keeping(place, clock) as one, keeping(place, clock) as other:
                world = World(one, clock, receiver)
                both = (world.outbox, world.another(other))
                records = [await ask(one, notified(asked(holder=f"h{at}"))) for at in range(5 * AT_ONCE)]
                while len(await world.look(*both)) < len(records):
                    assert [one.why for one in world.sent if one.why] == []  # or it is due later than the clock stands
                assert len(await world.look(*both)) == len(records)
                told = Counter(json.loads(got.body)["approval"]["id"] for got in receiver.got)
                assert told == Counter(record.id for record in records)

    run(told())


def test_what_a_sidecar_had_that_is_gone_is_told_by_another_after_a_while(place: Place) -> None:
    async def told() -> None:
        clock = Clock()
        with receiving() as receiver:
            async with keeping(place, clock) as ledger:
                world = World(ledger, clock, receiver)
                await ask(ledger, notified())
                assert len(await ledger.approvals.notices("okx", BUSY_FOR, 1)) == 1  # and then its process was killed
                clock.now += BUSY_FOR - 1
                assert await world.look() == []
                clock.now += 2
                assert len(await world.look()) == 1

    run(told())


def test_a_receiver_that_hangs_has_few_messages_at_once_and_holds_up_nobody(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            receiver.waits.clear()
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                for at in range(AT_ONCE + 3):
                    await ask(ledger, notified(asked(holder=f"h{at}")))
                for _ in range(3):
                    async with asyncio.timeout(2):  # it says nothing for as long as the test wants
                        await world.outbox.look(world.hook)
                await until(lambda: len(receiver.got) == AT_ONCE)
                receiver.waits.set()
                await world.outbox.finish(10)
                assert len(await world.look()) == AT_ONCE + 3

    run(told())


def test_at_the_end_what_is_under_way_is_left_to_the_next_one(place: Place) -> None:
    async def told() -> None:
        with receiving() as receiver:
            receiver.waits.clear()
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                await ask(ledger, notified())
                await world.outbox.look(world.hook)
                await until(lambda: receiver.got)
                await world.outbox.finish(0)
                receiver.waits.set()
                clock.now += BUSY_FOR
                assert len(await world.look(world.another())) == 2

    run(told())


def test_that_a_call_waits_is_not_told_late_once_it_waits_no_more(place: Place) -> None:
    async def told() -> None:
        with receiving(status(500), status(204)) as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                record = await ask(ledger, notified())
                await world.look()
                await ledger.approvals.decide(record.id, says("approve"))
                clock.now += 10
                await world.look()
                clock.now += BUSY_FOR
                assert [body["event"] for body in await world.look()] == ["approval.pending", "approval.decided"]

    run(told())


def test_what_nobody_takes_for_a_day_is_given_up(place: Place) -> None:
    async def told() -> None:
        with receiving(status(500)) as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                record = await ask(ledger, notified())
                await world.look()
                await ledger.approvals.decide(record.id, says("deny"))
                clock.now += TRIED_FOR - 0.5
                await world.look()
                assert [(one.event, one.given_up) for one in world.sent] == [("pending", False), ("decided", True)]
                clock.now += TRIED_FOR
                assert len(await world.look()) == 2

    run(told())


def test_a_store_that_goes_while_something_is_told_loses_nothing(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object) -> None:
        raise StoreUnavailable("it is gone")

    async def told() -> None:
        with receiving() as receiver:
            async with keeping(place, clock := Clock()) as ledger:
                world = World(ledger, clock, receiver)
                await ask(ledger, notified())
                with monkeypatch.context() as patched:
                    patched.setattr(type(ledger.approvals), "noticed", gone)
                    await world.look()
                assert "sent again later: it is gone" in caplog.text
                clock.now += BUSY_FOR
                assert len(await world.look()) == 2
                assert len({got.headers["webhook-id"] for got in receiver.got}) == 1

    run(told())


def test_the_library_that_sends_is_imported_once_it_is_needed() -> None:
    assert "httpx" not in vars(outbox)
