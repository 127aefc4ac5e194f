"""Policy files that changed: which of them are whole, and since when. Looks and times come in; no I/O, no policy.

A file is whole when it was replaced at once, or nobody has it open for writing. Where the system does not tell, or
somebody writes it in several turns, only quiet shows that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

from sidecar.system.files import Found

SETTLED: Final = 0.1
"""Seconds for which changed files stay as they are before they are read as a policy."""
Patience: TypeAlias = tuple[float, float]
"""Seconds of quiet for a policy that takes nothing away, and for one that takes all."""
MOVED: Final = (SETTLED, SETTLED)
NEW: Final = (0.5, 0.5)
"""After another file stood there that may have been moved, or made there: within a second it is to be in force."""
IN_PLACE: Final = (0.5, 2.0)
"""After a file was written where it lies."""
UNTOLD: Final = (1.0, 10.0)
"""After any change where the system does not tell whether somebody still writes."""


class Settling:
    """The files at the last look, and what was seen of their way there. `tried` is what was made of them last."""

    def __init__(self, tried: Sequence[Found], now: float) -> None:
        self.found = tuple(tried)
        self._tried = self.found
        self._since = now
        self._patience: list[Patience] = [MOVED] * len(self.found)

    def look(self, found: Sequence[Found], now: float) -> None:
        """Take a look at the files into account."""
        if self.found == tuple(found):
            return
        self._patience = [
            patience if before == after else _patience(before, after)
            for patience, before, after in zip(self._patience, self.found, found, strict=True)
        ]
        self.found = tuple(found)
        self._since = now

    def tried(self) -> None:
        """What there is now was made into a policy, or into a refusal: only another content is news."""
        self._tried = self.found

    @property
    def changed(self) -> bool:
        """Whether there is something to try."""
        return any(not now.holds_as(before) for now, before in zip(self.found, self._tried, strict=True))

    @property
    def open_for_writing(self) -> list[Path]:
        """The files that somebody has open for writing."""
        return [one.path for one in self.found if one.content is not None and one.content.open_for_writing]

    def quiet(self, now: float) -> float:
        """Seconds for which the files have stayed as they are."""
        return now - self._since

    def settled(self, now: float) -> bool:
        """Whether it is worth while to read them as a policy."""
        return not self.open_for_writing and self.quiet(now) >= SETTLED

    def whole(self, now: float, lost: float) -> bool:
        """Whether they are whole, as far as anybody can tell; `lost` is the share of the policy that they take away."""
        seconds = [
            least + (most - least) * lost
            for before, after, (least, most) in zip(self._tried, self.found, self._patience, strict=True)
            if not after.holds_as(before)
        ]
        return self.settled(now) and self.quiet(now) >= max(seconds, default=0.0)


def _patience(before: Found, after: Found) -> Patience:
    """How long a file has to be quiet that is not what it was at the look before."""
    if after.content is None:
        return MOVED
    old, new = before.content, after.content
    if old is not None and new.leads_to != old.leads_to:
        return MOVED  # symlinks are swapped when everything is there (ConfigMaps)
    if new.open_for_writing is None:
        return UNTOLD
    if old is None or new.stamp[:2] == old.stamp[:2]:
        return IN_PLACE
    # To be moved here changes a file after it was written; where both fall into one tick of the kernel's clock, it may
    # as well be one that was removed and is written anew, and closed between two pieces.
    *_, written, changed = new.stamp
    return MOVED if changed > written else NEW
