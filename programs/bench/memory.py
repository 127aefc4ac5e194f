"""What a sidecar and its OPA hold in memory: after the start, with its memory of decisions full, and much later."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs.bench.contenders import Contender
from programs.bench.errors import Failed
from programs.bench.processes import name, resident, tree
from programs.bench.program import Program

NEW_QUESTIONS: Final = 15_000
"""More than the memory of decisions holds."""
_CHUNK: Final = 10_000


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of one program in RAM (VmRSS): after 100 calls, after the new questions, and at the end."""

    program: str
    started: int
    filled: int
    ended: int


@dataclass(frozen=True, slots=True)
class Memory:
    """What was held, and how many calls were made between the two later moments; or why there is no figure."""

    contender: Contender
    calls: int
    held: tuple[Held, ...] = ()
    failure: str | None = None


def memory(contender: Contender, calls: int, folder: Path) -> Memory:
    """Start the contender, make that many calls, and see how it grows."""
    try:
        program = Program(contender, folder)
        try:
            return Memory(contender, calls, _watch(program, calls))
        finally:
            program.close()
    except Failed as error:
        return Memory(contender, calls, failure=str(error))


def _watch(program: Program, calls: int) -> tuple[Held, ...]:
    program.greet()
    program.one_by_one(100)
    watched = {"sidecar": program.pid, "OPA": _opa(program.pid)}
    started = _resident(watched)
    program.client.always_new = True
    _calls(program, NEW_QUESTIONS)
    program.client.always_new = False
    _calls(program, _CHUNK)
    filled = _resident(watched)
    _calls(program, calls)
    ended = _resident(watched)
    if (served := program.client.served()) != program.client.calls:
        raise Failed(f"{program.client.calls} calls were made and {served} came to the server")
    return tuple(Held(each, started[each], filled[each], ended[each]) for each in watched)


def _calls(program: Program, count: int) -> None:
    for begin in range(0, count, _CHUNK):
        program.in_flight(min(_CHUNK, count - begin))


def _opa(pid: int) -> int:
    found = [one for one in tree(pid) if name(one) == "opa"]
    if len(found) != 1:
        raise Failed(f"{len(found)} of its processes are called opa, not one")
    return found[0]


def _resident(watched: dict[str, int]) -> dict[str, int]:
    try:
        return {each: resident(pid) for each, pid in watched.items()}
    except OSError as error:
        raise Failed(f"its memory cannot be read: {error}") from None
