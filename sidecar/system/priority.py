"""Standing back from the processor: a process and its children run when nobody else wants to."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def stand_back(nice: int) -> None:
    """Be as nice to others as `nice` says, and nicer if we are already; so are the children that are started later.

    Each session, and so each child of ours, may be a group of its own to the kernel (sched(7), autogroup), within which
    alone nice counts: then the groups are told too. Only a process without rights may have to ask twice in a second.
    """
    os.nice(max(0, nice - os.nice(0)))
    for pid in (os.getpid(), *_children()):
        with contextlib.suppress(OSError):  # there are no such groups
            group = Path(f"/proc/{pid}/autogroup")
            if not group.read_text(encoding="ascii").endswith(f" nice {nice}\n"):
                group.write_text(str(nice), encoding="ascii")


def _children() -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()
    return []
