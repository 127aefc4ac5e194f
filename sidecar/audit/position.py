"""Where a chain of audit lines goes on: the last line of a file, and what was cut off behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sidecar.audit.chain import BEGINNING, link
from sidecar.audit.forms.form import Form, Unsealed, form_of
from sidecar.audit.told import told
from sidecar.settings import AUDIT_FORMATS

LOOK_BACK: Final = 1 << 20
"""Bytes at the end of a file in which its last line is looked for: no line is as long."""


@dataclass(slots=True)
class Torn:
    """Bytes behind the last line that are no line: their hash so far, and how many lines they were to be."""

    lines: int
    hash: Any = field(default_factory=sha256)

    def digest(self, more: bytes) -> str:
        """The first 32 hex digits of the hash of these bytes and some more."""
        whole = self.hash.copy()
        whole.update(more)
        return str(whole.hexdigest()[:32])


@dataclass(frozen=True, slots=True)
class Position:
    """The number and the hash of the last line; `is_open` where no line end follows it, or what is `torn` behind it.

    `is_elsewhere` where that line stands in another file, so that this one has to say which it goes on from.
    """

    seq: int = 0
    chain: bytes = BEGINNING
    torn: Torn | None = None
    is_open: bool = False
    is_elsewhere: bool = False

    def in_another_file(self) -> Position:
        """The same place in the chain, at the beginning of a file."""
        return replace(self, torn=None, is_open=False, is_elsewhere=self.seq > 0)


def position_in(path: Path, form: Form) -> tuple[Position, bool]:
    """Where the chain in a file goes on, and whether it can go on in that file: its last line is of this form.

    Where its first line was cut off already, no line of the chain is there, and what is left of that one is torn.
    Without the right to read it that is the beginning.
    """
    try:
        end, is_whole = _end(path)
    except OSError:
        return Position(), False
    found = _last_line(end, form, is_whole=is_whole)
    if found is None and is_whole and b"\n" not in end and end.startswith(form.beginning[: len(end)]):
        found = Position(torn=Torn(1, sha256(end)), is_open=True)
    if found is not None:
        return found, True
    for name in AUDIT_FORMATS:
        found = _last_line(end, form_of(name), is_whole=is_whole)
        if found is not None:
            return found.in_another_file(), False
    return Position(), False


def _end(path: Path) -> tuple[bytes, bool]:
    """The end of a file, and whether that is the whole of it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOOK_BACK))
        return file.read(LOOK_BACK), size <= LOOK_BACK


def _last_line(end: bytes, form: Form, *, is_whole: bool) -> Position | None:
    """The last line of the chain, and what is behind it; None where there is none."""
    sealed = list(_sealed(end, form))
    for at, (stop, unsealed) in enumerate(sealed):
        if _follows(unsealed, (before for _, before in sealed[at + 1 :]), is_whole=is_whole):
            behind = end[stop + 1 :]
            torn = Torn(behind.rstrip(b"\n").count(b"\n") + 1) if behind else None
            if torn is not None:
                torn.hash.update(behind)
            _, seq, chain = unsealed
            return Position(seq, chain, torn, is_open=not end.endswith(b"\n"))
    return None


def _sealed(end: bytes, form: Form) -> Iterator[tuple[int, Unsealed]]:
    """The lines that look sealed, the last one first, and where each ends."""
    stop = len(end)
    while stop > 0:
        begin = end.rfind(b"\n", 0, stop) + 1
        if (found := form.unseal(end[begin:stop])) is not None:
            yield stop, found
        stop = begin - 1


def _follows(unsealed: Unsealed, before: Iterator[Unsealed], *, is_whole: bool) -> bool:
    """True for a line of the chain: where a line was cut off behind its seal, its hash is wrong."""
    line, seq, chain = unsealed
    known = [one for one in before if one[1] == seq - 1]
    if known:
        return any(link(previous, line) == chain for _, _, previous in known)
    try:
        says = told(line)
    except ValueError:
        return False
    first = says.previous.encode() if says.event == "continued" else BEGINNING
    return link(first, line) == chain if is_whole or says.event == "continued" else True
