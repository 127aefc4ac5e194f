"""A control group with a bound on memory, as a container has one: programs are started in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_PROGRAM: Final = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class Group:
    """One group, of version 1 or 2."""

    def __init__(self, folder: Path, bound: str, events: str) -> None:
        self.folder = folder
        self._bound = folder / bound
        self._events = folder / events

    def command(self, command: Sequence[str]) -> list[str]:
        """The same command, started in the group."""
        return ["sh", "-c", _PROGRAM, str(self.folder), *command]

    def limit(self, size: int) -> None:
        """From now on it may use so many bytes."""
        self._bound.write_text(str(size))

    @property
    def kills(self) -> int:
        """How many of its processes were killed because they wanted more."""
        pairs = dict(line.split() for line in self._events.read_text().splitlines())
        return int(pairs.get("oom_kill", 0))


@contextmanager
def group(size: int) -> Iterator[Group | None]:
    """A group that may use so many bytes; None where this process may make none."""
    made = _made(f"intercept-test-{os.getpid()}")
    if made is None:
        yield None
        return
    made.limit(size)
    try:
        yield made
    finally:
        made.folder.rmdir()


def _made(name: str) -> Group | None:
    root = Path("/sys/fs/cgroup")
    for top, bound, events in (
        (root / "memory", "memory.limit_in_bytes", "memory.oom_control"), (root, "memory.max", "memory.events"),
    ):  # fmt: skip
        folder = top / _ours(top) / name
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / bound).exists():
            return Group(folder, bound, events)
        folder.rmdir()
    return None


def _ours(top: Path) -> str:
    """Our own group below what is mounted."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, kinds, path = line.split(":", 2)
        if ("memory" in kinds.split(",") or (number == "0" and top.name == "cgroup")) and (top / path[1:]).is_dir():
            return path[1:]
    return "."
