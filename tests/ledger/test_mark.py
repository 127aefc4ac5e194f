"""The mark of a store: another one after every change of an approval, the same while only time passes."""

from __future__ import annotations

import asyncio

from sidecar.ledger.approvals import Answer
from tests.approvals.calls import GRANT, asked
from tests.ledger.stores import Clock, Store


def test_every_change_of_an_approval_gives_another_mark(store: Store) -> None:
    async def run() -> None:
        clock = Clock()
        ledger, other = store.ledger(clock), store.ledger(clock)
        marks = [await other.approvals.mark()]

        async def changed() -> None:
            mark = await other.approvals.mark()
            assert mark not in marks
            assert mark == await ledger.approvals.mark() == await other.approvals.mark()
            marks.append(mark)

        call = asked(approvers=2, grant=GRANT)
        pending = (await ledger.claim((), asked=call)).record  # type: ignore[union-attr]
        await changed()
        await ledger.claim((), asked=call)  # asked once more
        await changed()
        for name in ("alice", "bob"):
            await ledger.approvals.decide(pending.id, Answer(name, 0.0, "cli", "", "approve", grant=True))
            await changed()
        await ledger.claim((), asked=call)
        await changed()
        await ledger.approvals.settle(pending.id, "not_run")
        await changed()
        await ledger.approvals.revoke(pending.id, Answer("alice", 0.0, "cli", "", "revoke"))
        await changed()
        clock.now += 1
        await ledger.approvals.sweep("sidecar-1")
        assert await ledger.approvals.mark() == marks[-1]
        await ledger.close()
        await other.close()

    asyncio.run(run())
