"""Lists without what is very long, which agents choose: on every store."""

from __future__ import annotations

import asyncio
import json

import pytest

from sidecar.ledger.approvals import MAX_BRIEF, MAX_LONG_EACH, MAX_SHOWN, Unapproved
from tests.approvals.calls import asked
from tests.ledger.stores import Clock, Store


@pytest.mark.parametrize("length", [MAX_BRIEF - 2, MAX_BRIEF - 1, MAX_SHOWN])
def test_a_list_may_leave_out_what_is_long_and_what_one_looks_up_does_not(store: Store, length: int) -> None:
    async def run() -> None:
        ledger = store.ledger(Clock())
        arguments = json.dumps("é" + "x" * (length - 1), ensure_ascii=False)
        call = asked(arguments=arguments)
        found = await ledger.claim((), asked=call)
        assert isinstance(found, Unapproved)
        assert found.record.asked == call
        approvals = ledger.approvals
        (whole,), (brief,) = await approvals.records(), await approvals.records(brief=True)
        assert whole == found.record == await approvals.find(whole.id)
        assert (brief.asked.shown.arguments == "") == (len(arguments) > MAX_BRIEF)
        assert brief.asked.shown.arguments in ("", arguments)
        again = await ledger.claim((), asked=call)
        assert isinstance(again, Unapproved)
        assert again.record.asked.shown.arguments in ("", arguments)  # no call needs to read that
        await ledger.close()

    asyncio.run(run())


def test_a_full_queue_of_long_calls_is_listed(store: Store) -> None:
    async def run() -> None:
        ledger = store.ledger(Clock())
        arguments = json.dumps("x" * (MAX_SHOWN - 2))
        for _ in range(MAX_LONG_EACH):
            await ledger.claim((), asked=asked(arguments=arguments))
        assert len(await ledger.approvals.records(brief=True)) == MAX_LONG_EACH
        await ledger.close()

    asyncio.run(run())


def test_what_is_long_is_part_of_what_a_webhook_hears(store: Store) -> None:
    async def run() -> None:
        ledger = store.ledger(Clock())
        arguments = json.dumps("x" * MAX_BRIEF)
        await ledger.claim((), asked=asked(arguments=arguments, notify=True))
        (notice,) = await ledger.approvals.notices("okx", 10.0, 5)
        assert notice.record.asked.shown.arguments == arguments
        await ledger.close()

    asyncio.run(run())
