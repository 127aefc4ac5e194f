"""Several processes on one ledger: together exactly the limit, and one that is killed loses and doubles nothing."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import ROOT
from tests.support.peer import until

# Claims as the gate does: at once, or else by waiting. Writes a byte after each claim that got through; "!" at the end.
CLAIMER = """
import asyncio, os, sys
from pathlib import Path
from sidecar.errors import StoreUnavailable
from sidecar.ledger.sqlite import SqliteLedger
from sidecar.ledger.values import Claim, Reservation

async def main(path, limit):
    ledger = SqliteLedger(Path(path), lambda: 1_700_000_000.0)
    wanted = (Reservation("c", "", 86400, 1, int(limit)), Reservation("d", "", 60, 1, int(limit)))
    os.write(1, b"r")
    sys.stdin.read(1)
    while True:
        claimed = ledger.claim_at_once(wanted)
        if claimed is None:
            try:
                claimed = await ledger.claim(wanted)
            except StoreUnavailable:
                continue
        if not isinstance(claimed, Claim):
            break
        os.write(1, b".")
    os.write(1, b"!")
    await ledger.close()

asyncio.run(main(*sys.argv[1:]))
"""


class Claimer:
    """A process that claims until nothing is left."""

    def __init__(self, path: Path, limit: int, output: Path) -> None:
        self.output = output
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", CLAIMER, str(path), str(limit)], stdin=subprocess.PIPE, stdout=file, cwd=ROOT
            )
        until(lambda: self.text.startswith("r"))

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def reported(self) -> int:
        """Claims that it said it got."""
        return self.text.count(".")

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"g")
        self.process.stdin.close()


@contextmanager
def claimers(folder: Path, number: int, limit: int) -> Iterator[list[Claimer]]:
    started = [Claimer(folder / "counters.db", limit, folder / f"{random.random()}.txt") for _ in range(number)]
    try:
        yield started
    finally:
        for claimer in started:
            claimer.process.kill()
            claimer.process.wait(10)


def totals(folder: Path) -> list[int]:
    """The totals of both counters, from a file that must be whole."""
    db = sqlite3.connect(folder / "counters.db")
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [int(row[0]) for row in db.execute("SELECT total FROM counters ORDER BY counter")]
    finally:
        db.close()


def test_several_processes_together_get_exactly_the_limit(tmp_path: Path) -> None:
    with claimers(tmp_path, number=4, limit=3_000) as every:
        for claimer in every:
            claimer.go()
        until(lambda: all(claimer.text.endswith("!") for claimer in every), seconds=60)
        assert sum(claimer.reported for claimer in every) == 3_000
    assert totals(tmp_path) == [3_000, 3_000]


@pytest.mark.parametrize("seed", range(4))
def test_killed_processes_lose_nothing_and_double_nothing(tmp_path: Path, seed: int) -> None:
    chance, reported, killed = random.Random(seed), 0, 0
    for _ in range(2):
        with claimers(tmp_path, number=3, limit=10**9) as every:
            for claimer in every:
                claimer.go()
            for claimer in every:
                enough = claimer.reported + chance.randrange(1, 150)
                until(lambda: claimer.reported >= enough, seconds=30)  # noqa: B023 - used before the next turn
                claimer.process.kill()
                claimer.process.wait(10)
                killed += 1
            reported += sum(claimer.reported for claimer in every)
    one, other = totals(tmp_path)
    assert one == other
    assert reported <= one <= reported + killed
