"""What the kernel says of running programs: who belongs together, memory, CPU time. Reads /proc only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_ENDED = (FileNotFoundError, ProcessLookupError)


def tree(pid: int) -> list[int]:
    """A process and all that it started, as far as they are there."""
    found = [pid]
    for one in found:  # which grows meanwhile
        for task in _tasks(one):
            with suppress(*_ENDED):
                found += map(int, (task / "children").read_text().split())
    return found


def name(pid: int) -> str:
    """What the program is called; empty when it is gone."""
    with suppress(*_ENDED):
        return (_PROC / str(pid) / "comm").read_text().strip()
    return ""


def resident(pid: int) -> int:
    """Bytes of its memory that are in RAM (VmRSS, which counts what it shares with others). Raises `OSError`."""
    for line in (_PROC / str(pid) / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    raise ProcessLookupError(f"process {pid} has ended")


def cpu_nanoseconds(pid: int) -> int:
    """CPU time of a process and all that it started, in user space and in the kernel."""
    total = 0
    for one in tree(pid):
        for task in _tasks(one):
            with suppress(*_ENDED):
                total += int((task / "schedstat").read_text().split()[0])
    return total


def _tasks(pid: int) -> Iterator[Path]:
    with suppress(*_ENDED):
        yield from sorted((_PROC / str(pid) / "task").iterdir())
