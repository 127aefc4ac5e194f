"""The order of a run: everybody is started once and stays up, and takes turns in every round, at a changing place."""

from __future__ import annotations

import gc
import math
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Final, Protocol, TypeVar

from programs.bench.client import IN_FLIGHT
from programs.bench.contenders import Contender
from programs.bench.errors import Failed
from programs.bench.figures import Measured, Sample, sample
from programs.bench.opa import OpaAlone
from programs.bench.program import Program

PARTS: Final = 8
"""Single calls are made in so many parts of a round: where the kernel wakes whom is settled anew for each."""
PAUSE_SECONDS: Final = 0.002
"""Before each part, so that the kernel finds everybody asleep, as between the calls of an agent."""
WARM_UP: Final = 4
"""Calls before each part; the first of them on a connection that is new. 32 in flight warm up with 32 times as many."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured: rounds, and in each so many calls one at a time and so many with 32 in flight.

    Whoever would take longer than `seconds` for either gets fewer.
    """

    rounds: int
    calls: int
    in_flight: int
    seconds: float = 0.3

    def of_a_part(self, seconds_each: float) -> int:
        """How many single calls of that length are made in one part of a round."""
        return max(2, min(math.ceil(self.calls / PARTS), int(self.seconds / PARTS / seconds_each)))

    def of_a_burst(self, rate: float) -> int:
        """How many calls are made with 32 in flight where so many pass in a second."""
        return max(IN_FLIGHT, min(self.in_flight, int(self.seconds * rate)))


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
        self._took: list[int] = []
        self._worked: list[float] = []
        self._seconds_each = 0.0
        self._rate = 0.0

    def start(self, folder: Path) -> None:
        self.target = (Program if self.contender.command else OpaAlone)(self.contender, folder)
        self.target.greet()
        self._seconds_each = statistics.median(self.target.one_by_one(WARM_UP)) / 1e9
        self._rate = self.target.in_flight(IN_FLIGHT)

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

    def call_alone(self, extent: Extent) -> None:
        """One part of the single calls of a round."""
        assert self.target is not None
        calls = WARM_UP + extent.of_a_part(self._seconds_each)
        before = self.target.cpu_nanoseconds()
        sleep(PAUSE_SECONDS)
        took = self.target.one_by_one(calls)
        self._worked.append((self.target.cpu_nanoseconds() - before) / calls)
        self._took += took[WARM_UP:]
        self._seconds_each = statistics.median(took) / 1e9

    def call_in_flight(self, extent: Extent) -> None:
        """All the calls with 32 in flight of a round, which end it."""
        assert self.target is not None
        if (warm_up := min(WARM_UP * IN_FLIGHT, extent.of_a_burst(self._rate) // 2)) >= IN_FLIGHT:
            self.target.in_flight(warm_up)
        self._rate = self.target.in_flight(extent.of_a_burst(self._rate))
        self.samples.append(sample(self._took, self._rate, statistics.fmean(self._worked)))
        self._took, self._worked = [], []

    def ask(self) -> None:
        """See that every call arrived, and how many of them were put to OPA."""
        assert self.target is not None
        self.asked = self.target.asked()

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
        with _no_collection():
            for number in range(extent.rounds):
                print(f"round {number + 1} of {extent.rounds}", file=sys.stderr, flush=True)
                for part in range(PARTS):
                    _each(rotated(entrants, number + part), lambda entrant: entrant.call_alone(extent))
                _each(rotated(entrants, number), lambda entrant: entrant.call_in_flight(extent))
        _each(entrants, _Entrant.ask)
    return [entrant.measured() for entrant in entrants]


T = TypeVar("T")


def rotated(entrants: Sequence[T], by: int) -> list[T]:
    """The same, beginning so many places later: nobody always follows the same cold or busy moment."""
    by %= len(entrants)
    return [*entrants[by:], *entrants[:by]]


def _each(entrants: Sequence[_Entrant], turn: Callable[[_Entrant], None]) -> None:
    """A turn for everybody who has not failed."""
    for entrant in entrants:
        if entrant.failure is None:
            with entrant.may_fail():
                turn(entrant)


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
