"""The memory budget: one bound on all that is held at once: bytes received, what was read of them, bytes to be sent.

What does not fit is refused or has to wait. The bound is a share of the memory that this process may use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.errors import StartError

SMALL: Final = 256 << 10
"""Bytes of what is small, as nearly every message is: a part of the budget is kept free for that."""
KEPT: Final = 1 / 4
"""The share of the budget that only small things may use."""
SHARE: Final = 1 / 4
"""The budget's share of the memory. As much again is for the message that is being read, the rest for the program."""
DEFAULT_BUDGET: Final = 256 << 20
"""The budget, in bytes, where none is given."""
WEIGHT: Final = 4
"""While it is judged a message takes this many times its bytes: as it came, as it was read, and in the question."""

_EACH: Final = 96
"""Bytes that a value takes beside its own, in a list or an object: its place there, its name, its own object."""


def held(message: bytes) -> int:
    """About as many bytes as a message takes at most while it is kept, as it came and as it was read.

    Of many small values that is far more than `WEIGHT` times its bytes.
    """
    return len(message) + _EACH * sum(map(message.count, (b",", b"[", b"{")))


Wake: TypeAlias = Callable[[], object]


class MemoryBudget:
    """Counts the bytes that are held, against `limit`.

    Each of `relieve` lets go of something that others need the room of; it is False where there is nothing. Each of
    `spare` does so, too, with what is only kept in case that somebody asks for it. Each of `waiting` hears when
    something was given back.
    """

    __slots__ = ("_taken", "limit", "relieve", "spare", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spare: list[Callable[[], bool]] = []
        self.relieve: list[Callable[[], bool]] = []
        self.waiting: dict[Wake, None] = {}
        self._taken = 0

    @property
    def taken(self) -> int:
        """The bytes that are held."""
        return self._taken

    @taken.setter
    def taken(self, size: int) -> None:
        is_less = size < self._taken
        self._taken = size
        if is_less and self.waiting:
            for wake in list(self.waiting):
                wake()

    @property
    def largest(self) -> int:
        """The most that one message may take."""
        return int(self.limit * (1 - KEPT))

    def has(self, size: int, more: int | None = None) -> bool:
        """True where something of this size may be held; `more` is what of it is not counted yet, by default all."""
        limit = self.limit if size <= SMALL else self.limit * (1 - KEPT)
        return self.taken + (size if more is None else more) <= limit

    def make(self, size: int, more: int | None = None) -> bool:
        """See that there is room, whoever has to go for it."""
        while not self.clear(size, more):
            if not any(relieve() for relieve in self.relieve):
                return False
        return True

    def clear(self, size: int, more: int | None = None) -> bool:
        """See that there is room, where nobody has to go for it who is still there."""
        while not self.has(size, more):
            if not any(relieve() for relieve in self.spare):
                return False
        return True


class Share:
    """What one holder has of the room: `size` bytes. It is given back with the holder at the latest."""

    __slots__ = ("_room", "size")

    def __init__(self, room: MemoryBudget, size: int = 0) -> None:
        self._room = room
        self.size = 0
        self.hold(size)

    def hold(self, size: int) -> None:
        """So many bytes are held now."""
        more, self.size = size - self.size, size
        if more:
            self._room.taken += more

    def __del__(self) -> None:
        # Whatever way its holder ends, what it held is free by then.
        self.hold(0)


@dataclass(frozen=True, slots=True)
class Memory:
    """How many bytes this process may use, and whose bound that is."""

    size: int
    whose: str


def room_for(limit: int, found: Memory) -> MemoryBudget:
    """The room for all that is held at once. Raises `StartError` where no message of up to `limit` bytes had any."""
    room = MemoryBudget(int(found.size * SHARE))
    if room.largest < WEIGHT * limit:
        raise StartError(
            f"--max-message: one of {limit >> 20} MiB takes {WEIGHT * limit >> 20} MiB while it is judged, and of the "
            f"{found.size >> 20} MiB of {found.whose} one message may take {room.largest >> 20}: give at most "
            f"{room.largest // WEIGHT >> 10}KiB"
        )
    return room


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
