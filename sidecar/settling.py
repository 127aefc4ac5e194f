"""Policy files that changed: which of them are whole, and since when. Looks and times come in; no I/O, no policy.

A file is whole when it was replaced at once, or nobody has it open for writing. Where the system does not tell, or
somebody writes it in several turns, only quiet shows that it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sidecar.files import Found

SETTLED: Final = 0.1
"""Seconds for which changed files stay as they are before they are read as a policy."""
IN_PLACE: Final = (0.5, 2.0)
"""Seconds of quiet after a file was written where it lies: for a policy that takes nothing away, or that takes all."""
UNTOLD: Final = (1.0, 10.0)
"""The same where the system does not tell whether somebody still writes."""


class Settling:
    """The files at the last look, and what was seen of their way there. `tried` is what was made of them last."""

    def __init__(self, tried: Sequence[Found], now: float) -> None:
        self.found = tuple(tried)
        self._tried = self.found
        self._since = now
        self._replaced = [False] * len(self.found)

    def look(self, found: Sequence[Found], now: float) -> None:
        """Take a look at the files into account."""
        if self.found == tuple(found):
            return
        self._replaced = [
            replaced if before == after else _replaced(before, after)
            for replaced, before, after in zip(self._replaced, self.found, found, strict=True)
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
        patience = [
            _patience(after, replaced=replaced, lost=lost)
            for before, after, replaced in zip(self._tried, self.found, self._replaced, strict=True)
            if not after.holds_as(before)
        ]
        return self.settled(now) and self.quiet(now) >= max(patience, default=0.0)


def _replaced(before: Found, after: Found) -> bool:
    """Whether another file stands in the place of the one that was there, rather than the same one written anew."""
    if before.content is None or after.content is None:
        return False
    old, new = before.content, after.content
    if new.open_for_writing is None:
        # A file that is new may still be written; symlinks are swapped when everything is there (ConfigMaps).
        return new.leads_to != old.leads_to
    if new.stamp[:2] == old.stamp[:2]:
        return False
    # One that was removed and is written anew may be closed between two pieces. To be moved here changes a file after
    # it was written; where both fall into one tick of the kernel's clock, nobody can tell.
    *_, written, changed = new.stamp
    return changed > written or new.leads_to != old.leads_to


def _patience(found: Found, *, replaced: bool, lost: float) -> float:
    if replaced or found.content is None:
        return SETTLED
    least, most = UNTOLD if found.content.open_for_writing is None else IN_PLACE
    return least + (most - least) * lost
