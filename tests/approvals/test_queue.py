"""What an approver can see and do, without HTTP: changes that are waited for, and answers whose asker goes away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.approvals.approvers import Approver
from sidecar.approvals.document import digest_of
from sidecar.approvals.queue import LISTED, Person, Queue
from sidecar.errors import StoreUnavailable
from sidecar.events import ApprovalChanged, Event
from sidecar.ledger.approvals import MAX_PENDING, MAX_PENDING_EACH, Answer, Asked, QueueFull, Record, State, Unapproved
from sidecar.ledger.sqlite import SqliteLedger
from tests.approvals.calls import asked

LONG = 20.0
"""Seconds within which what must happen has happened."""

ALICE = Person(Approver("alice"), "page", "127.0.0.1")


@asynccontextmanager
async def opened(tmp_path: Path) -> AsyncIterator[tuple[Queue, SqliteLedger, list[Event]]]:
    ledger = SqliteLedger(tmp_path / "counters.db", time.time)
    told: list[Event] = []
    try:
        yield Queue(ledger, "okx", told.append), ledger, told
    finally:
        await ledger.close()


def run(tmp_path: Path, use: Callable[[Queue, SqliteLedger, list[Event]], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened(tmp_path) as (queue, ledger, told), asyncio.timeout(60):
            await use(queue, ledger, told)

    asyncio.run(main())


async def ask(ledger: SqliteLedger, call: Asked) -> Record:
    found = await ledger.claim((), asked=call)
    assert isinstance(found, Unapproved)
    return found.record


def test_whoever_waits_hears_of_what_another_process_changes(tmp_path: Path) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        other = SqliteLedger(tmp_path / "counters.db", time.time)
        mark = await queue.changed("", LONG)
        waiting = [asyncio.create_task(queue.changed(mark, LONG)) for _ in range(3)]
        record = await ask(other, asked(approvers=2))
        marks = {await one for one in waiting}
        assert len(marks) == 1
        (second,) = marks
        assert second != mark
        await other.approvals.decide(record.id, Answer("bob", 0.0, "cli", "", "approve"))
        assert await queue.changed(second, LONG) not in ("", mark, second)
        await other.close()

    run(tmp_path, use)


def test_the_same_mark_comes_back_when_nothing_changes(tmp_path: Path) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        mark = await queue.changed("", LONG)
        assert await queue.changed(mark, 0.01) == mark
        assert await queue.changed("of long ago", LONG) == mark

    run(tmp_path, use)


def test_the_store_is_looked_at_only_while_somebody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        looks = 0
        mark_of = ledger.approvals.mark

        async def counted() -> str:
            nonlocal looks
            looks += 1
            return await mark_of()

        monkeypatch.setattr("sidecar.approvals.watch.EVERY", 0.001)
        monkeypatch.setattr(ledger.approvals, "mark", counted)
        mark = await queue.changed("", LONG)
        waiting = [asyncio.create_task(queue.changed(mark, 0.05)) for _ in range(5)]
        assert {await one for one in waiting} == {mark}
        ended = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*ended), LONG)
        seen = looks
        for _ in range(20):
            await asyncio.sleep(0)
        assert looks == seen > 0

    run(tmp_path, use)


def test_a_store_that_comes_back_is_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        async def gone() -> str:
            raise StoreUnavailable("gone")

        mark = await queue.changed("", LONG)
        with monkeypatch.context() as broken:
            broken.setattr(ledger.approvals, "mark", gone)
            lost = await queue.changed(mark, LONG)
        assert lost != mark
        assert await queue.changed(lost, LONG) == mark

    run(tmp_path, use)


def test_an_answer_is_told_of_though_the_person_goes_away_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        record = await ask(ledger, asked())
        decide, stored, go_on = ledger.approvals.decide, asyncio.Event(), asyncio.Event()

        async def slow(id_: str, answer: Answer) -> tuple[Record, bool]:
            done = await decide(id_, answer)
            stored.set()
            await go_on.wait()
            return done

        monkeypatch.setattr(ledger.approvals, "decide", slow)
        shown = digest_of(record.asked)
        answering = asyncio.create_task(queue.answer(ALICE, record.id, "approve", shown=shown))
        await stored.wait()
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        go_on.set()
        ended = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*ended), LONG)
        assert [event.record.state for event in told if isinstance(event, ApprovalChanged)] == ["approved"]

    run(tmp_path, use)


def test_of_two_who_answer_at_once_one_is_told_what_the_other_said(tmp_path: Path) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        bob = Person(Approver("bob"), "api", "127.0.0.1")
        record = await ask(ledger, asked())
        shown = digest_of(record.asked)
        answers = await asyncio.gather(
            queue.answer(ALICE, record.id, "approve", shown=shown),
            queue.answer(bob, record.id, "deny", shown=shown),
            return_exceptions=True,
        )
        assert len([one for one in answers if isinstance(one, Record)]) == 1
        assert len([event for event in told if isinstance(event, ApprovalChanged)]) == 1
        assert len((await ledger.approvals.find(record.id)).answers) == 1

    run(tmp_path, use)


def test_who_may_answer_some_calls_only_finds_them_behind_those_of_others(tmp_path: Path) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        hers = await ask(ledger, asked())
        for holder in range(LISTED // MAX_PENDING_EACH + 1):
            calls = {at: asked(tool="place_order", holder=f"other-{holder}") for at in range(MAX_PENDING_EACH)}
            assert ledger.claim_at_once([()] * MAX_PENDING_EACH, asked=calls)
        carol = Person(Approver("carol", ("okx",), ("cancel_*",)), "api", "127.0.0.1")
        assert [one.id for one in await queue.visible(carol)] == [hers.id]
        assert len(await queue.visible(ALICE)) == LISTED

    run(tmp_path, use)


@pytest.mark.slow
def test_ten_thousand_that_wait_are_listed_within_bounds(tmp_path: Path) -> None:
    async def use(queue: Queue, ledger: SqliteLedger, told: list[Event]) -> None:
        for holder in range(MAX_PENDING // MAX_PENDING_EACH):
            calls = {at: asked(holder=f"session-{holder}") for at in range(MAX_PENDING_EACH)}
            assert ledger.claim_at_once([()] * MAX_PENDING_EACH, asked=calls)
        assert await ledger.claim((), asked=asked(holder="one more")) == QueueFull(own=False)
        states: tuple[State, ...] = ("pending",)
        found = await queue.visible(ALICE, states)
        assert len(found) == LISTED
        assert [one.created for one in found] == sorted([one.created for one in found], reverse=True)

    run(tmp_path, use)
