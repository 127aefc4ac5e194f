"""Audit files that are removed: those that are too old, and the oldest where all together are too large.

Never removed are a file that somebody writes, one of another name, of another user, and anything but a regular file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SUFFIXES: Final = {"json": ".jsonl", "cef": ".cef", "rfc5424": ".log"}
"""What the names of audit files of each form end with in the state folder."""

BUSY: Final = 60.0
"""Seconds after its last line in which a file that was not put aside counts as written, and its lock is left alone.

To try a lock is to have it for a moment, in which a sidecar that begins the file cannot have it.
"""

_NUMBERED: Final = re.compile(r"\.[0-9]{6,}(?:\.[^.]*)?\Z")
_RUN: Final = re.compile(r"(?:[0-9a-f]{8}(?:\.[0-9]{6,})?|approvals\.[0-9]{6,})\.(?:jsonl|cef|log)")
"""Files of runs, and those that were put aside from the command line's own file, which stays."""
_COUNTED: Final = re.compile(rf"{_RUN.pattern}|approvals\.jsonl")


@dataclass(frozen=True, slots=True)
class Retention:
    """Which files in `folder` are kept: for `keep` seconds after their last line, and `total` bytes of all together.

    `removable` is what a whole name must match to be removed, and `counted` to count towards the total.
    """

    folder: Path
    removable: re.Pattern[str]
    counted: re.Pattern[str]
    keep: float
    total: int

    def may_go(self, name: str, age: float) -> bool:
        """True for a file that may be removed if nobody writes it."""
        return self.removable.fullmatch(name) is not None and (age > BUSY or _NUMBERED.search(name) is not None)


def of_runs(folder: Path, keep: float, total: int) -> Retention:
    """For the folder in which each run has a file of its own."""
    return Retention(folder, _RUN, _COUNTED, keep, total)


def of_file(path: Path, keep: float, total: int) -> Retention:
    """For the files that were put aside from `path`. It counts, and stays."""
    stem, suffix = re.escape(path.stem), re.escape(path.suffix)
    aside = re.compile(rf"{stem}\.[0-9]{{6,}}{suffix}")
    return Retention(path.parent, aside, re.compile(rf"{aside.pattern}|{re.escape(path.name)}"), keep, total)


def sweep(rule: Retention, now: float) -> list[Path]:
    """Remove what is too much at `now`, in seconds since 1970; what was removed. Raises OSError for the folder only."""
    found = sorted(_found(rule), key=lambda one: (one[1].st_mtime, one[0].name))
    size = sum(status.st_size for _, status in found)
    removed = []
    for path, status in found:
        if status.st_mtime >= now - rule.keep and size <= rule.total:
            break  # what follows is younger
        if rule.may_go(path.name, now - status.st_mtime) and _remove(path, status):
            size -= status.st_size
            removed.append(path)
    return removed


def _found(rule: Retention) -> list[tuple[Path, os.stat_result]]:
    """The files that count."""
    found = []
    with os.scandir(rule.folder) as entries:
        for entry in entries:
            if rule.counted.fullmatch(entry.name) is not None:
                with contextlib.suppress(OSError):  # somebody else removed it
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid():
                        found.append((Path(entry.path), status))
    return found


def _remove(path: Path, status: os.stat_result) -> bool:
    """Remove a file, unless somebody writes it or it is another one by now."""
    try:
        # For writing, as locks on NFS need it.
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        if os.path.samestat(os.fstat(file), status):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return True
    except OSError:  # it is locked, or the folder is not ours to write
        return False
    else:
        return False
    finally:
        os.close(file)
