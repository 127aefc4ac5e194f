"""Room: one bound for all that is held at once, bytes that came, what was made of them, and bytes that wait to go out.

Whoever wants more than there is has to do without. The bound is a share of what this process may use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SMALL: Final = 256 << 10
"""What takes no more is let in also when larger things leave no room for more of them: as nearly every message."""
KEPT: Final = 1 / 4
"""Of the room, for what is small."""
SHARE: Final = 1 / 4
"""Of the memory: as much again is for one message that is read just now, the rest for the program and its allocator."""
WEIGHT: Final = 4
"""A message takes so many times its bytes while it is judged: as it came, as it was read, as it is asked about."""


class Room:
    """Counts the bytes that are held, against `limit`.

    `relieve` lets go of something that others need the room of; it is False where there is nothing.
    """

    __slots__ = ("limit", "relieve", "taken")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.taken = 0
        self.relieve: Callable[[], bool] = lambda: False

    def has(self, size: int, more: int | None = None) -> bool:
        """True where something of this size may be held; `more` is what of it is not counted yet, by default all."""
        limit = self.limit if size <= SMALL else self.limit * (1 - KEPT)
        return self.taken + (size if more is None else more) <= limit

    def make(self, size: int, more: int | None = None) -> bool:
        """See that there is room, whoever has to go for it."""
        while not self.has(size, more):
            if not self.relieve():
                return False
        return True

    @property
    def is_exceeded(self) -> bool:
        """True while more is held than may be."""
        return self.taken > self.limit


@dataclass(frozen=True, slots=True)
class Memory:
    """How many bytes this process may use, and whose bound that is."""

    size: int
    whose: str


def memory(root: Path = Path("/")) -> Memory:
    """The least bound of the control groups that we are in, else what the machine has."""
    total = int((root / "proc/meminfo").read_text(encoding="utf-8").split(maxsplit=2)[1]) << 10
    bounds = [bound for bound in map(_bound, _files(root)) if bound is not None and bound < total]
    return Memory(min(bounds), "this container") if bounds else Memory(total, "this machine")


def _files(root: Path) -> list[Path]:
    """Where the bounds stand: of our group and those above it, in either version of control groups."""
    mounts = root / "sys/fs/cgroup"
    files: list[Path] = []
    for line in (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        number, kinds, path = line.split(":", 2)
        if number == "0":
            top, name = mounts, "memory.max"
        elif "memory" in kinds.split(","):
            top, name = mounts / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container our group may be the root of what is mounted, whatever it is called outside.
        group = top / path.lstrip("/")
        files += [folder / name for folder in (group, *group.parents) if folder.is_relative_to(top)]
    return files


def _bound(file: Path) -> int | None:
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
