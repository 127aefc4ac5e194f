"""How long it takes from the start of a program to its first list of tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from programs.bench.contenders import Contender
from programs.bench.errors import Failed
from programs.bench.program import Program
from programs.bench.runs import rotated


@dataclass(frozen=True, slots=True)
class Started:
    """The seconds that each round took, from the command to the answer of `tools/list`."""

    contender: Contender
    seconds: tuple[float, ...]
    failure: str | None = None


def starts(contenders: Sequence[Contender], rounds: int, folder: Path) -> list[Started]:
    """Start everybody once in each round, one after the other, at a changing place."""
    seconds: dict[str, list[float]] = {one.name: [] for one in contenders}
    failures: dict[str, str] = {}
    for number in range(rounds):
        for one in rotated(contenders, number):
            if one.name not in failures:
                try:
                    seconds[one.name].append(_seconds(one, folder / f"{number}-{contenders.index(one)}"))
                except Failed as error:
                    failures[one.name] = str(error)
    return [Started(one, tuple(seconds[one.name]), failures.get(one.name)) for one in contenders]


def _seconds(contender: Contender, folder: Path) -> float:
    begun = perf_counter()
    program = Program(contender, folder)
    try:
        program.greet()
        program.client.request("tools/list", {})
        return perf_counter() - begun
    finally:
        program.close()
