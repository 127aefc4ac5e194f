"""Where a chain of audit lines goes on: the last line of a file, and what was cut off behind it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sidecar.audit.chain import BEGINNING
from sidecar.audit.forms.form import Form, form_of
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

    Without the right to read it that is the beginning.
    """
    try:
        end = _end(path)
    except OSError:
        return Position(), False
    found = _last_line(end, form)
    if found is not None:
        return found, True
    for name in AUDIT_FORMATS:
        found = _last_line(end, form_of(name))
        if found is not None:
            return found.in_another_file(), False
    return Position(), False


def _end(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LOOK_BACK))
        return file.read(LOOK_BACK)


def _last_line(end: bytes, form: Form) -> Position | None:
    """The last sealed line, and what is behind it; None where there is none."""
    stop = len(end)
    while stop > 0:
        begin = end.rfind(b"\n", 0, stop) + 1
        if (found := form.unseal(end[begin:stop])) is not None:
            behind = end[stop + 1 :]
            torn = Torn(behind.rstrip(b"\n").count(b"\n") + 1) if behind else None
            if torn is not None:
                torn.hash.update(behind)
            return Position(found[1], found[2], torn, is_open=not end.endswith(b"\n"))
        stop = begin - 1
    return None
