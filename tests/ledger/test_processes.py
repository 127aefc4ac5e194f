"""Several processes on one store: together exactly the limit, and one that is killed loses and doubles nothing."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ledger.stores import Store
from tests.support import ROOT
from tests.support.peer import SECONDS, until


class Claimer:
    """A process that claims until nothing is left."""

    def __init__(self, store: Store, limit: int, output: Path) -> None:
        self.output = output
        command = [sys.executable, "-m", "tests.ledger.claimer", str(limit), *store.words]
        with output.open("wb") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=file, cwd=ROOT)

    @property
    def text(self) -> str:
        """What it wrote."""
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

    def kill(self) -> None:
        """Kill -9."""
        self.process.kill()
        self.process.wait(SECONDS)


@contextmanager
def claimers(store: Store, folder: Path, number: int, limit: int) -> Iterator[list[Claimer]]:
    """Processes that begin together."""
    started = [Claimer(store, limit, folder / f"{random.random()}.txt") for _ in range(number)]
    try:
        until(lambda: all(claimer.text == "r" for claimer in started), seconds=60)
        for claimer in started:
            claimer.go()
        yield started
    finally:
        for claimer in started:
            claimer.kill()


def totals(store: Store) -> list[int]:
    """The totals of both counters."""
    return [int(row[4]) for row in store.rows()]


def test_eight_processes_together_get_exactly_the_limit(store: Store, tmp_path: Path) -> None:
    with claimers(store, tmp_path, number=8, limit=2_000) as every:
        until(lambda: all(claimer.text.endswith("!") for claimer in every), seconds=60)
        assert sum(claimer.reported for claimer in every) == 2_000
    assert totals(store) == [2_000, 2_000]


@pytest.mark.parametrize("seed", range(3))
def test_killed_processes_lose_nothing_and_double_nothing(store: Store, tmp_path: Path, seed: int) -> None:
    chance, reported, killed = random.Random(seed), 0, 0
    for _ in range(2):
        with claimers(store, tmp_path, number=3, limit=10**9) as every:
            for claimer in every:
                enough = claimer.reported + chance.randrange(1, 150)
                until(lambda: claimer.reported >= enough, seconds=30)  # noqa: B023 - used before the next turn
                claimer.kill()
                killed += 1
            reported += sum(claimer.reported for claimer in every)
    one, other = totals(store)
    assert one == other
    assert reported <= one <= reported + killed
