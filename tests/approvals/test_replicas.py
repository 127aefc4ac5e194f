"""Two listeners on one store, as two replicas of a sidecar have: an answer at one counts at both, on every store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.approvals.calls import asked
from tests.approvals.people import ALICE, BOB
from tests.approvals.serving import Served, serving
from tests.ledger.stores import Clock, RedisStore, SqliteStore, Store
from tests.support.redis_server import RedisServer


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return SqliteStore(tmp_path / "counters.db")
    server: RedisServer = request.getfixturevalue("redis_server")
    return RedisStore(server.dsn, f"{tmp_path.name}:")


def with_two(store: Store, tmp_path: Path, use: Callable[[Served, Served], Awaitable[None]]) -> None:
    """Run a test against two listeners."""

    async def run() -> None:
        one, other = store.ledger(Clock()), store.ledger(Clock())
        async with serving(tmp_path, ledger=one) as here, serving(tmp_path, ledger=other) as there:
            await use(here, there)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_what_is_asked_at_one_is_answered_at_the_other(store: Store, tmp_path: Path) -> None:
    async def use(here: Served, there: Served) -> None:
        call = asked()
        record = await here.ask(call)
        assert (await there.approve(record)).json()["state"] == "approved"
        assert (await here.use(call)).id == record.id
        assert (await there.get(f"/api/approvals/{record.id}")).json()["state"] == "in_use"
        late = await there.post(f"/api/approvals/{record.id}/deny", {})
        assert (late.status_code, late.json()["state"]) == (409, "in_use")

    with_two(store, tmp_path, use)


def test_two_people_may_answer_at_two_listeners(store: Store, tmp_path: Path) -> None:
    async def use(here: Served, there: Served) -> None:
        record = await here.ask(asked(approvers=2))
        assert (await here.approve(record)).json()["state"] == "pending"
        again = await there.approve(record)
        assert (again.json()["state"], len(again.json()["answers"])) == ("pending", 1)
        assert (await there.approve(record, BOB)).json()["state"] == "approved"

    with_two(store, tmp_path, use)


def test_of_a_yes_and_a_no_at_the_same_time_one_counts(store: Store, tmp_path: Path) -> None:
    async def use(here: Served, there: Served) -> None:
        for _ in range(5):
            record = await here.ask(asked())
            digest = await here.digest(record)
            yes, no = await asyncio.gather(
                here.post(f"/api/approvals/{record.id}/approve", {"digest": digest}, ALICE),
                there.post(f"/api/approvals/{record.id}/deny", {"digest": digest}, BOB),
            )
            stands = (await here.get(f"/api/approvals/{record.id}")).json()
            assert sorted([yes.status_code, no.status_code]) == [200, 409]
            assert stands["state"] == ("approved" if yes.status_code == 200 else "denied")
            assert len(stands["answers"]) == 1
        assert len(here.changes) + len(there.changes) == 5

    with_two(store, tmp_path, use)


def test_many_copies_of_one_answer_are_one_answer(store: Store, tmp_path: Path) -> None:
    async def use(here: Served, there: Served) -> None:
        record = await here.ask(asked())
        digest = await here.digest(record)
        path = f"/api/approvals/{record.id}/approve"
        answers = await asyncio.gather(*[one.post(path, {"digest": digest}) for one in (here, there) * 10])
        assert {one.status_code for one in answers} == {200}
        assert {len(one.json()["answers"]) for one in answers} == {1}
        assert len(here.changes) + len(there.changes) == 1

    with_two(store, tmp_path, use)
