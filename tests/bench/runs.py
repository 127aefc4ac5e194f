"""The order of a run: everybody is started once and stays up, and takes a turn in every round, at a changing place."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Final, Protocol, TypeVar

from tests.bench.client import IN_FLIGHT
from tests.bench.contenders import Contender
from tests.bench.errors import Failed
from tests.bench.figures import Measured, Sample, sample
from tests.bench.opa import OpaAlone
from tests.bench.program import Program

WARM_UP_SECONDS: Final = 0.1
LEAST_CALLS: Final = 10


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: rounds, and in each so many calls one at a time and so many with 32 in flight.

    Whoever would take longer than `seconds` for either gets fewer.
    """

    rounds: int
    calls: int
    in_flight: int
    seconds: float = 0.3

    def fitting(self, most: int, least: int, seconds_each: float) -> int:
        """How many calls of that length fit, between the two bounds."""
        return max(least, min(most, int(self.seconds / seconds_each)))


class Target(Protocol):
    """A contender that runs. Every method raises `Failed` but the last two."""

    def greet(self) -> None: ...
    def one_by_one(self, count: int) -> list[int]: ...
    def in_flight(self, count: int) -> float: ...
    def cpu_nanoseconds(self) -> int: ...
    def asked(self) -> float | None: ...
    def said(self) -> str: ...
    def close(self) -> None: ...


class _Entrant:
    """A contender in the run: its target, its samples, and how it failed, if it did."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        self.target: Target | None = None
        self.samples: list[Sample] = []
        self.failure: str | None = None
        self.asked: float | None = None

    def start(self, folder: Path) -> None:
        self.target = (Program if self.contender.command else OpaAlone)(self.contender, folder)
        self.target.greet()

    def close(self) -> None:
        if self.target is not None:
            self.target.close()

    @contextmanager
    def may_fail(self) -> Iterator[None]:
        """Whoever fails is left out of what follows, with the reason."""
        try:
            yield
        except Failed as error:
            said = self.target.said() if self.target is not None else ""
            self.failure = f"{error}; it said: {said}" if said else str(error)

    def take_turn(self, extent: Extent) -> None:
        assert self.target is not None
        each = _warm_up(self.target.one_by_one, LEAST_CALLS // 2, LEAST_CALLS * 3)
        calls = extent.fitting(extent.calls, LEAST_CALLS, each)
        with _no_collection():
            before = self.target.cpu_nanoseconds()
            took = self.target.one_by_one(calls)
            worked = self.target.cpu_nanoseconds() - before
        each = _warm_up(self.target.in_flight, IN_FLIGHT, IN_FLIGHT * 5)
        with _no_collection():
            rate = self.target.in_flight(extent.fitting(extent.in_flight, IN_FLIGHT, each))
        self.samples.append(sample(took, rate, worked))

    def measured(self) -> Measured:
        return Measured(self.contender, tuple(self.samples), self.failure, self.asked)


def run(contenders: Sequence[Contender], extent: Extent, folder: Path) -> list[Measured]:
    """Measure everybody; whoever fails is in the result as failed."""
    entrants = [_Entrant(contender) for contender in contenders]
    with ExitStack() as stack:
        for number, entrant in enumerate(entrants):
            stack.callback(entrant.close)
            with entrant.may_fail():
                # One after the other: a dozen that start at once are slow enough to give up.
                entrant.start(folder / str(number))
        for number in range(extent.rounds):
            print(f"round {number + 1} of {extent.rounds}", file=sys.stderr, flush=True)
            for entrant in _fit(rotated(entrants, number)):
                with entrant.may_fail():
                    entrant.take_turn(extent)
        for entrant in _fit(entrants):
            with entrant.may_fail():
                entrant.asked = entrant.target.asked()  # type: ignore[union-attr] # it started
    return [entrant.measured() for entrant in entrants]


T = TypeVar("T")


def rotated(entrants: Sequence[T], by: int) -> list[T]:
    """The same, beginning so many places later: nobody always follows the same cold or busy moment."""
    by %= len(entrants)
    return [*entrants[by:], *entrants[:by]]


def _fit(entrants: Sequence[_Entrant]) -> Iterator[_Entrant]:
    return (entrant for entrant in entrants if entrant.failure is None)


def _warm_up(make: Callable[[int], object], chunk: int, most: int) -> float:
    """Make calls, a chunk at a time, and say how many seconds each took; a slow contender makes few of them."""
    begun, made, spent = perf_counter(), 0, 0.0
    while made < most and spent < WARM_UP_SECONDS:
        make(chunk)
        made, spent = made + chunk, perf_counter() - begun
    return spent / made


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
