"""Approvals and several processes: an approved call goes through once, and a process that is killed frees nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sidecar.ledger.approvals import LOST_AFTER
from tests.ledger.asking import approved, asks, pending, refused, same, says, state
from tests.ledger.stores import Clock, Store, ledger_in
from tests.support import ROOT
from tests.support.peer import SECONDS, until

CALLS, COPIES = 10, 25


class Racer:
    """A process that makes approved calls."""

    def __init__(self, store: Store, calls: int, copies: int, output: Path) -> None:
        self._output = output
        command = [sys.executable, "-m", "tests.ledger.racer", str(calls), str(copies), *store.words]
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, cwd=ROOT)

    @property
    def lines(self) -> list[str]:
        """What it wrote."""
        return self._output.read_text().splitlines()

    @property
    def got(self) -> Counter[str]:
        """How many copies of each call got through."""
        return Counter({line.rstrip("."): line.count(".") for line in self.lines if line.startswith("c")})

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"g")
        self.process.stdin.flush()

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait(SECONDS)
        assert self.process.stdin is not None
        self.process.stdin.close()


@contextmanager
def racers(store: Store, folder: Path, number: int, calls: int, copies: int) -> Iterator[list[Racer]]:
    """Processes that begin together, and are done."""
    with ExitStack() as ending:
        started = [Racer(store, calls, copies, folder / f"racer-{one}.txt") for one in range(number)]
        for racer in started:
            ending.callback(racer.kill)
        until(lambda: all(racer.lines == ["r"] for racer in started), seconds=60)
        for racer in started:
            racer.go()
        until(lambda: all(racer.lines[-1:] == ["!"] for racer in started), seconds=60)
        yield started


@pytest.mark.slow
def test_of_fifty_copies_of_an_approved_call_in_two_processes_one_goes_through(store: Store, tmp_path: Path) -> None:
    async def approve() -> None:
        async with ledger_in(store) as ledger:
            for number in range(CALLS):
                await approved(ledger, asks(f"c{number}"))

    asyncio.run(approve())
    with racers(store, tmp_path, 2, CALLS, COPIES) as both:
        got = both[0].got + both[1].got
    assert got == {f"c{number}": 1 for number in range(CALLS)}
    assert [int(row[4]) for row in store.rows()] == [CALLS]  # and each took from its limit once


@pytest.mark.slow
def test_of_fifty_copies_of_a_call_that_nobody_approved_none_goes_through_and_one_person_is_asked(
    store: Store, tmp_path: Path
) -> None:
    with racers(store, tmp_path, 2, 1, COPIES) as both:
        assert both[0].got + both[1].got == Counter()

    async def look() -> None:
        async with ledger_in(store) as ledger:
            (record,) = await ledger.approvals.records()
            assert (record.state, record.asked_times) == ("pending", 2 * COPIES)

    asyncio.run(look())


@pytest.mark.slow
def test_a_process_that_is_killed_between_the_claim_and_the_answer_leaves_a_call_of_which_nobody_knows(
    store: Store, tmp_path: Path
) -> None:
    clock = Clock()

    async def approve() -> str:
        async with ledger_in(store, clock) as ledger:
            return (await approved(ledger, asks("c0"))).id

    async def look(id_: str) -> None:
        async with ledger_in(store, clock) as ledger:
            record = await ledger.approvals.find(id_)
            assert record.state == "in_use"
            assert (await refused(ledger, asks("c0"))).id == id_
            clock.passes(LOST_AFTER - 0.25)
            assert await ledger.approvals.sweep("another") == ()
            assert (await refused(ledger, asks("c0"))).state == "in_use"
            clock.passes(0.25)
            assert [(one.id, one.state) for one in await ledger.approvals.sweep("another")] == [(id_, "unknown")]
            for again in (asks("c0"), asks("c0", holder="a new session"), same("c0")):
                assert (await refused(ledger, again)).id == id_
            await ledger.approvals.resolve(id_, says("failed"))
            assert await state(ledger, record) == "consumed"
            await pending(ledger, asks("c0"))  # never again on the same approval

    id_ = asyncio.run(approve())
    with racers(store, tmp_path, 1, 1, 1) as (one,):
        assert one.got == {"c0": 1}
        one.kill()
        asyncio.run(look(id_))
