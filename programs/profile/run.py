"""One way through the sidecar under the profiler: started, driven by the benchmark's client, and read out."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from programs.bench.contenders import Contender
from programs.bench.program import Program
from programs.profile.profiled import BEGIN, END
from tests.support import ROOT
from tests.support.peer import until

SECONDS: Final = 30.0
"""Longest wait for the profiler to begin or end."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function of the sidecar or one that it uses: its own microseconds and how often it was called, for one call."""

    name: str
    own: float
    calls: float


@dataclass(frozen=True, slots=True)
class Profile:
    """What was seen of `calls` calls: processor time of one in microseconds, without and with the profiler on."""

    contender: Contender
    calls: int
    plain: float
    profiled: float
    functions: tuple[Function, ...]


def profile(contender: Contender, calls: int, folder: Path, *, in_flight: bool) -> Profile:
    """Make so many calls twice, the second time under the profiler. Raises `Failed`."""
    program = Program(replace(contender, command=_profiled(contender.command, folder)), folder)
    try:
        program.greet()
        pid = int(_text(folder / "pid"))
        make = program.in_flight if in_flight else program.one_by_one
        make(max(1, calls // 5))  # what is done only the first time is no part of the hot path
        before = cpu_seconds(pid)
        make(calls)
        between = cpu_seconds(pid)
        os.kill(pid, BEGIN)
        _text(folder / "begun")
        begun = cpu_seconds(pid)
        make(calls)
        profiled = cpu_seconds(pid) - begun
        os.kill(pid, END)
        found = json.loads(_text(folder / "functions"))
    finally:
        program.close()
    functions = [Function(name, own * 1e6 / calls, count / calls) for name, count, own in found if _is_theirs(name)]
    functions.sort(key=lambda function: -function.own)
    return Profile(contender, calls, (between - before) * 1e6 / calls, profiled * 1e6 / calls, tuple(functions))


def cpu_seconds(pid: int) -> float:
    """Processor time of a process in seconds, all its threads, to the nanosecond."""
    # The number of another process' clock, as clock_getcpuclockid(3) makes it on Linux.
    return time.clock_gettime((~pid << 3) | 2)


def _profiled(command: tuple[str, ...], folder: Path) -> tuple[str, ...]:
    """The command with the profiler in the place of the sidecar's own program."""
    _, *words = command
    return ("env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "programs.profile.profiled", str(folder), *words)


def _is_theirs(name: str) -> bool:
    return "profile/profiled.py" not in name and "_lsprof" not in name


def _text(path: Path) -> str:
    until(path.exists, SECONDS, f"the file {path.name}")
    return path.read_text()
