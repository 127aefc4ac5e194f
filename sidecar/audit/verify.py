"""Whether a file of audit lines is what was written: every line is there, unchanged and in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import IO, Any, Final

from sidecar.audit.chain import BEGINNING, link
from sidecar.audit.forms.form import form_of
from sidecar.audit.told import Told, form_name, told
from sidecar.settings import AUDIT_FORMATS

LONGEST: Final = 1 << 20
"""Bytes of the longest line that is read: no line of ours is as long."""

_FORMS: Final = {name: form_of(name) for name in AUDIT_FORMATS}


def _no_pause() -> None:
    """Nobody writes there."""


@dataclass(slots=True)
class Checked:
    """What a file holds, up to its first `problem` and the number of the line where that is.

    `seq` and `chain` are those of the last line, `first_seq` of the first. `after` is the hash that the file goes on
    from, of another file unless it is the beginning. `lost` lines were not written.
    """

    lines: int = 0
    first_time: str = ""
    last_time: str = ""
    first_seq: int = 0
    after: bytes = BEGINNING
    seq: int = 0
    chain: bytes = BEGINNING
    lost: int = 0
    instance: str = ""
    last_event: str = ""
    problem: tuple[int, str] | None = None


@dataclass(slots=True)
class _Torn:
    """Lines that do not belong to the chain: where they begin, what is wrong there, and the hash of them all.

    They may be what is left of a line that was cut off; then the next line tells of them.
    """

    number: int
    problem: str
    hash: Any = field(default_factory=sha256)


class _Broken(Exception):
    """A line is not what was written there."""

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.where = number, text


def check(file: IO[bytes], pause: Callable[[], None] = _no_pause) -> Checked:
    """Check a file from its beginning, in bounded memory. Raises OSError.

    A line without an end may be one that is written just now: the rest is looked for after a `pause`.
    """
    found = Checked()
    try:
        _check(_lines(file, pause), found)
    except _Broken as broken:
        found.problem = broken.where
    return found


def _check(lines: Iterator[tuple[int, bytes, bytes]], found: Checked) -> None:
    torn: _Torn | None = None
    for number, line, end in lines:
        try:
            torn = _must_fit(found, line, torn)
        except ValueError as error:
            torn = torn or _Torn(number, str(error))
            torn.hash.update(line + end)
    if torn is not None:
        raise _Broken(torn.number, torn.problem)


_UNSEALED: Final = "it has no number and hash: it was cut off, changed or put in, or the file is of an earlier version"


def _must_fit(found: Checked, line: bytes, torn: _Torn | None) -> _Torn | None:
    """Take the line as the next one of the chain; what still has to be told of. Raises ValueError if it is not."""
    # By the look of each line: the first one may be what is left of one that was cut off.
    sealed = _FORMS[form_name(line)].unseal(line)
    if sealed is None:
        raise ValueError(_UNSEALED)
    text, seq, chain = sealed
    says = told(text)
    _must_follow(found, says, text, seq, chain)
    if torn is not None and says.event == "continued" and not found.lines:
        # It comes first; behind it the first line of the file is told of, which was cut off.
        _take(found, says, seq, chain)
        return torn
    if torn is not None and (says.event, says.torn) != ("lost", torn.hash.hexdigest()[:32]):
        raise ValueError(torn.problem)
    if torn is None and says.event == "lost" and says.torn:
        raise ValueError("it tells of a line that was cut off, and that is missing")
    _take(found, says, seq, chain)
    return None


def _must_follow(found: Checked, says: Told, line: bytes, seq: int, chain: bytes) -> None:
    """Raise ValueError unless the line is the next one of the chain."""
    before = found.chain
    if not found.lines:
        if says.event == "continued" and seq == says.after + 1:
            before = says.previous.encode()
        elif seq != 1:
            raise ValueError(f"it is number {seq}, and what stood before it is missing")
    elif seq != found.seq + 1:
        raise ValueError(f"it is number {seq} where {found.seq + 1} must be: a line was taken out, put in or moved")
    if link(before, line) != chain:
        raise ValueError("its hash is not that of this line after the one before: it was changed, or put in")


def _take(found: Checked, says: Told, seq: int, chain: bytes) -> None:
    if not found.lines:
        found.after = says.previous.encode() or BEGINNING
        found.first_seq, found.first_time, found.instance = seq, says.time, says.instance
    found.lines += 1
    found.last_time = says.time
    found.last_event = says.event
    found.seq, found.chain = seq, chain
    if says.event == "lost":
        found.lost += says.lines


def _lines(file: IO[bytes], pause: Callable[[], None]) -> Iterator[tuple[int, bytes, bytes]]:
    """Each line, its number in the file, and its end, which the last one may lack."""
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        if len(line) <= LONGEST and not line.endswith(b"\n"):
            pause()
            line += file.readline(LONGEST + 1 - len(line))
        if len(line) > LONGEST:
            raise _Broken(number, f"it is longer than {LONGEST} bytes, as no line of an audit log is")
        yield (number, line[:-1], b"\n") if line.endswith(b"\n") else (number, line, b"")
