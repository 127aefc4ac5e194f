"""Two sidecars on one Redis whose answers get lost at any moment: each approval runs once, and limits stay exact."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Literal, TypeAlias

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.errors import StoreUnavailable
from sidecar.ledger.approvals import Record
from sidecar.ledger.protocol import Claim
from sidecar.ledger.redis import RedisLedger
from sidecar.ledger.values import Counter
from tests.ledger.asking import asks, says
from tests.ledger.redis_wire import Wire, wire_to
from tests.ledger.stores import DAY, Clock, wants
from tests.support.redis_server import RedisServer

How: TypeAlias = Literal["consumed", "not_run", "released"]
Step: TypeAlias = tuple[str, int, bool, How]
"""What is done, by which of the two sidecars, whether its answer is lost, and how a call ends."""

STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "claim", "approve", "settle", "again", "sweep"]),
        st.integers(0, 1), st.booleans(), st.sampled_from(["consumed", "not_run", "released"]),
    ),
    min_size=10, max_size=30,
)  # fmt: skip
NUMBERS = itertools.count()


class Sidecar:
    """One of them, as its gate behaves: a call whose claim fails is not forwarded; an end that fails is told again."""

    def __init__(self, name: str, wire: Wire, ledger: RedisLedger) -> None:
        self.name = name
        self.wire = wire
        self.ledger = ledger
        self.running: list[Record] = []
        self.untold: list[tuple[Record, How]] = []

    async def tries(self, work: Awaitable[object], *, loses: bool) -> object:
        """What it hears; None where the answer is lost."""
        self.wire.loses_answers = loses
        try:
            return await work
        except StoreUnavailable:
            assert loses
            return None
        finally:
            self.wire.loses_answers = False


class World:
    """Both, and what the outside sees."""

    def __init__(self, sidecars: list[Sidecar]) -> None:
        self.sidecars = sidecars
        self.spent: set[str] = set()
        self.kept = 0

    async def do(self, step: Step) -> None:
        """One step."""
        what, who, loses, how = step
        one = self.sidecars[who]
        match what:
            case "claim":
                await self.claim(one, loses=loses)
            case "approve":
                for record in await one.ledger.approvals.records(["pending"]):
                    await one.tries(one.ledger.approvals.decide(record.id, says("approve")), loses=loses)
            case "settle" if one.running:
                record = one.running.pop(0)
                if how != "released":
                    self.spent.add(record.id)
                self.kept += how == "consumed"
                await self.settle(one, record, how, loses=loses)
            case "again" if one.untold:
                await self.settle(one, *one.untold.pop(0), loses=loses)
            case "sweep":
                await one.tries(one.ledger.approvals.sweep(one.name), loses=loses)

    async def claim(self, one: Sidecar, *, loses: bool) -> None:
        """A call; if it is forwarded, nobody else runs on its approval, and nobody has."""
        asked = asks(owner=one.name)
        claimed = await one.tries(one.ledger.claim((wants(limit=None),), (), asked), loses=loses)
        if isinstance(claimed, Claim):
            assert claimed.approval is not None
            assert claimed.approval.id not in self.spent
            assert claimed.approval.id not in [record.id for each in self.sidecars for record in each.running]
            one.running.append(claimed.approval)

    async def settle(self, one: Sidecar, record: Record, how: How, *, loses: bool) -> None:
        """Tell how a call ended."""
        entries = () if how == "consumed" else record.entries
        told = await one.tries(one.ledger.approvals.settle(record.id, how, entries, record.uses), loses=loses)
        if told is None:
            one.untold.append((record, how))

    async def ends(self) -> None:
        """When no answer is lost any more, all is as it was seen from outside."""
        for one in self.sidecars:
            while one.untold:
                await self.settle(one, *one.untold.pop(0), loses=False)
            await one.ledger.approvals.sweep(one.name)
        one = self.sidecars[0]
        in_use = {record.id for record in await one.ledger.approvals.records(["in_use"])}
        running = {record.id for each in self.sidecars for record in each.running}
        assert in_use == running
        assert await one.ledger.approvals.records(["unknown"]) == []
        assert await one.ledger.totals((Counter("stub/t.n", "", DAY),)) == (len(running) + self.kept,)


RELEASED_UNHEARD: list[Step] = [
    ("claim", 0, False, "consumed"), ("settle", 0, True, "released"), ("claim", 1, False, "consumed"),
]  # fmt: skip
TAKEN_UNHEARD: list[Step] = [
    ("claim", 0, True, "consumed"), ("sweep", 0, True, "consumed"), ("claim", 1, False, "consumed"),
]  # fmt: skip


@given(steps=STEPS)
@example(steps=RELEASED_UNHEARD)
@example(steps=TAKEN_UNHEARD)
@settings(deadline=None, max_examples=100)
def test_each_approval_runs_once_and_limits_stay_exact_whichever_answers_get_lost(
    redis_server: RedisServer, steps: list[Step]
) -> None:
    async def run() -> None:
        prefix, clock = f"lossy-{next(NUMBERS)}:", Clock()
        async with AsyncExitStack() as open_:
            sidecars = [
                Sidecar(name, *await open_.enter_async_context(wire_to(redis_server, clock, prefix)))
                for name in ("here", "there")
            ]
            world = World(sidecars)
            asked: list[Step] = [("claim", 0, False, "consumed"), ("approve", 0, False, "consumed")]
            for step in asked + steps:
                await world.do(step)
            await world.ends()

    asyncio.run(run())
