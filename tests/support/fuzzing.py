"""How often a property is tried: a little in every run of the tests, many times as often in `make fuzz`.

`make fuzz-minute` tries the targets, one for each reader, for a given time, with other examples each time.
"""

from __future__ import annotations

import functools
import itertools
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import hypothesis

Property: TypeAlias = Callable[..., None]

TIMES: Final = int(os.environ.get("FUZZ_TIMES", "1"))
"""How many times as many examples as usual."""
SECONDS: Final = os.environ.get("FUZZ_SECONDS")
"""How long each target is tried, where that is said."""
SEED: Final = os.environ.get("FUZZ_SEED")
"""The seed that failed, which is to be tried again."""
AT_ONCE: Final = 200
"""Examples that come from one seed."""


def examples(count: int) -> hypothesis.settings:
    """Settings of a property that is tried with `count` examples, and with more in `make fuzz`."""
    return hypothesis.settings(
        max_examples=count * TIMES,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.data_too_large],
    )


def target(count: int) -> Callable[[Property], Property]:
    """A property that is tried with `count` examples, and for as long as FUZZ_SECONDS says where that is set."""

    def decorated(test: Property) -> Property:
        if SECONDS is None and SEED is None:
            return examples(count)(test)
        repeated = Repeated(test)

        @functools.wraps(test)
        def tried(**fixtures: Any) -> None:
            seeds = fresh_seeds(float(SECONDS or 0)) if SEED is None else [int(SEED)]
            TRIED.append(repeated.run(seeds, fixtures))

        return tried

    return decorated


@dataclass(frozen=True, slots=True)
class Tried:
    """What was tried of a property that held."""

    name: str
    examples: int
    seeds: int

    def __str__(self) -> str:
        return f"{self.examples} examples out of {self.seeds} seeds: {self.name}"


TRIED: Final = list[Tried]()
"""What was tried in this process; tests/fuzz/conftest.py tells it at the end."""


def fresh_seeds(seconds: float, clock: Callable[[], float] = time.monotonic) -> Iterator[int]:
    """Seeds that nobody tried before, until the time is over."""
    end = clock() + seconds
    while clock() < end:
        yield random.SystemRandom().getrandbits(32)


class Repeated:
    """A property that is tried with AT_ONCE examples of each of many seeds. Each example depends on its seed alone."""

    def __init__(self, test: Any) -> None:
        self._name = str(test.__name__)
        self._count = itertools.count()
        # What was found before must not come first, or the same seed would not give the same examples again.
        settings = hypothesis.settings(examples(1), max_examples=AT_ONCE, database=None, print_blob=True)
        self._test = settings(test)
        self._test.hypothesis.inner_test = self._counted(self._test.hypothesis.inner_test)

    def run(self, seeds: Iterable[int], fixtures: dict[str, Any]) -> Tried:
        """Try it; a failure says how to see it again, and to have tried nothing is one too."""
        before, number, seed = next(self._count), 0, None
        try:
            for seed in seeds:
                hypothesis.seed(seed)(self._test)(**fixtures)
                number += 1
        except BaseException as error:
            error.add_note(f"To see it again: FUZZ_SEED={seed} .venv/bin/pytest tests/fuzz -k {self._name}")
            raise
        tried = next(self._count) - before - 1
        assert tried, "not one example was tried"
        return Tried(self._name, tried, number)

    def _counted(self, inner: Property) -> Property:
        @functools.wraps(inner)
        def counted(*args: Any, **more: Any) -> None:
            next(self._count)
            inner(*args, **more)

        return counted
