"""Two runs of the suite side by side. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Key(NamedTuple):
    """Which check it is. Some come several times in a scenario, and are told apart by how many came before."""

    requirements: str
    scenario: str
    id: str
    name: str
    time: int


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its verdict: SUCCESS, FAILURE, WARNING or SKIPPED."""

    key: Key
    verdict: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Pair:
    """A check in both runs; None where a run does not have it."""

    key: Key
    direct: Check | None
    through: Check | None

    @property
    def differs(self) -> bool:
        """True when the two are not of one verdict."""
        return self.direct is None or self.through is None or self.direct.verdict != self.through.verdict


class Score(NamedTuple):
    """How many checks passed and failed; warnings and checks that were left out are neither."""

    passed: int
    failed: int

    def __str__(self) -> str:
        return f"{self.passed} passed {self.failed} failed"


def compare(direct: Sequence[Check], through: Sequence[Check]) -> tuple[Pair, ...]:
    """Every check of either run, by its key, in the order of the keys."""
    one, other = ({check.key: check for check in checks} for checks in (direct, through))
    return tuple(Pair(key, one.get(key), other.get(key)) for key in sorted({*one, *other}))


def score(checks: Sequence[Check]) -> Score:
    """Count the verdicts."""
    verdicts = [check.verdict for check in checks]
    return Score(verdicts.count("SUCCESS"), verdicts.count("FAILURE"))
