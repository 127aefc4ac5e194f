"""When changed policy files are complete. It gets looks at files, and times; no I/O, no policy.

A file is complete when it was replaced at once, or when nobody has it open for writing. If the system does not tell who
has it open, or a writer opens it several times, only a time without changes shows that it is complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.system.files import Found

SETTLED: Final = 0.1
"""Seconds without a change after which changed files are read as a policy."""
Patience: TypeAlias = tuple[float, float]
"""Seconds without a change that are asked of a policy that loses no restriction, and of one that loses all."""
MOVED: Final = (SETTLED, SETTLED)
NEW: Final = (0.5, 0.5)
"""For another file at the path, which was moved there or created there. It is to be in force within a second."""
IN_PLACE: Final = (0.5, 2.0)
"""For a file that was written in place."""
UNTOLD: Final = (1.0, 10.0)
"""For any change if the system does not tell whether a writer has the file open."""


class Settling:
    """The files at the last look, and how they changed. `tried` are the files that were last read as a policy."""

    def __init__(self, tried: Sequence[Found], now: float) -> None:
        self.found = tuple(tried)
        self._tried = self.found
        self._since = now
        self._patience: list[Patience] = [MOVED] * len(self.found)

    def look(self, found: Sequence[Found], now: float) -> None:
        """Note the files at one look."""
        if self.found == tuple(found):
            return
        self._patience = [
            patience if before == after else _patience(before, after)
            for patience, before, after in zip(self._patience, self.found, found, strict=True)
        ]
        self.found = tuple(found)
        self._since = now

    def tried(self) -> None:
        """The files were read as a policy, which is in force or was refused: only other content is a change now."""
        self._tried = self.found

    def again(self, in_force: Sequence[Found]) -> None:
        """Only the files that are in force count as tried: others are worth another try."""
        self._tried = tuple(in_force)

    @property
    def changed(self) -> bool:
        """True if the files hold other content than was last tried."""
        return not self.holds(self._tried)

    def holds(self, files: Sequence[Found]) -> bool:
        """True if the files have the same content now as these."""
        return all(now.holds_as(then) for now, then in zip(self.found, files, strict=True))

    @property
    def open_for_writing(self) -> list[Path]:
        """The files that a writer has open."""
        return [one.path for one in self.found if one.content is not None and one.content.open_for_writing]

    def quiet(self, now: float) -> float:
        """Seconds since the last change."""
        return now - self._since

    def settled(self, now: float) -> bool:
        """True if they may be complete, so that it is worth reading them as a policy."""
        return not self.open_for_writing and self.quiet(now) >= SETTLED

    def whole(self, now: float, lost: float) -> bool:
        """True if they are complete as far as can be told; `lost` is the share of restrictions that they lose."""
        seconds = [
            least + (most - least) * lost
            for before, after, (least, most) in zip(self._tried, self.found, self._patience, strict=True)
            if not after.holds_as(before)
        ]
        return self.settled(now) and self.quiet(now) >= max(seconds, default=0.0)


def _patience(before: Found, after: Found) -> Patience:
    """How long a file that changed since the last look has to stay as it is."""
    if after.content is None:
        return MOVED
    old, new = before.content, after.content
    if old is not None and new.leads_to != old.leads_to:
        return MOVED  # symlinks are swapped when everything is there (ConfigMaps)
    if new.open_for_writing is None:
        return UNTOLD
    if old is None or new.stamp[:2] == old.stamp[:2]:
        return IN_PLACE
    # A move changes a file's ctime after its last write, so a later ctime shows that it was moved here complete. Equal
    # times leave it open: it may be a new file that is being written, and was closed between two pieces.
    *_, written, changed = new.stamp
    return MOVED if changed > written else NEW
