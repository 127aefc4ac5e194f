"""`sidecar audit verify`: whether audit files are what was written, each by itself and all of a run in their order."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from sidecar.audit.chain import BEGINNING
from sidecar.audit.verify import Checked, check
from sidecar.cli.printing import complain, say
from sidecar.text import of_system, shown, visible

HOLDS: Final = 0
BROKEN: Final = 1
UNREADABLE: Final = 2
"""What the command ends with."""

PAUSE: Final = 0.1
"""Seconds in which a line that is written just now is whole."""

_NUMBERED: Final = re.compile(r"(?P<stem>.+)\.(?P<number>[0-9]{6,})(?P<suffix>\.[^.]*)?")
_RUN: Final = re.compile(r"[0-9a-f]{8}")
_NEWEST: Final = sys.maxsize


def verify_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", show_default=False, help="Audit files; the files of one run together."),
    ],
) -> int:
    """Check that no line of audit files was changed, put in, taken out or moved.

    For each file it prints how many lines it has, and the number and the hash of the last one. Keep these two
    elsewhere: nothing else shows that lines were taken off the end.

    Ends with 0 when all holds, 1 when not, and says the first line that is wrong; 2 when a file cannot be read.
    """
    found: list[tuple[Path, Checked]] = []
    status = HOLDS
    for path in sorted(dict.fromkeys(files), key=_order):
        try:
            with open(path, "rb", opener=_opened) as file:
                found.append((path, check(file, lambda: time.sleep(PAUSE))))
        except OSError as error:
            complain(f"sidecar: cannot read {_name(path)}: {error.strerror}")
            status = UNREADABLE
    problems = dict(_problems(found))
    for path, checked in found:
        if path in problems:
            number, text = problems[path]
            complain(f"{_name(path)}:{number}: {text}")
        else:
            say(_told(path, checked, found))
    return BROKEN if problems else status


def _opened(path: str, flags: int) -> int:
    """A descriptor of a file; a pipe that nobody writes is not waited for, it has no line."""
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    os.set_blocking(descriptor, True)
    return descriptor


def _problems(found: Sequence[tuple[Path, Checked]]) -> Iterator[tuple[Path, tuple[int, str]]]:
    """What is wrong in each file, or else between it and the one before it."""
    before: tuple[Path, Checked] | None = None
    for path, checked in found:
        if before is not None and _family(before[0]) != _family(path):
            before = None
        if checked.problem is not None:
            yield path, checked.problem
        elif (text := _misplaced(path, checked, before)) is not None:
            yield path, (1, text)
        # A file without a line stands for none: what follows must go on from the one before it.
        if checked.lines or checked.problem is not None:
            before = path, checked


def _misplaced(path: Path, checked: Checked, before: tuple[Path, Checked] | None) -> str | None:
    """Why a file that holds by itself does not belong where it is; None if it does."""
    if not checked.lines:
        return None
    name, _ = _split(path)
    if _RUN.fullmatch(name[1]) is not None and checked.instance not in ("", name[1]):
        return f"it is a file of the run {shown(checked.instance)}, under another run's name"
    if before is None or before[1].problem is not None or not before[1].lines:
        return None
    if (checked.after, checked.first_seq) == (before[1].chain, before[1].seq + 1):
        return None
    return (
        f"it goes on after line {checked.first_seq - 1} of the chain, and {_name(before[0])} ends with line "
        f"{before[1].seq}: a file is missing, or is not the one that was written"
    )


def _told(path: Path, checked: Checked, found: Sequence[tuple[Path, Checked]]) -> str:
    if not checked.lines:
        return f"{_name(path)}: no line"
    said = (
        f"{_name(path)}: {checked.lines} line{'s' if checked.lines > 1 else ''} from {shown(checked.first_time)} to "
        f"{shown(checked.last_time)}, seq {checked.first_seq} to {checked.seq}, chain {checked.chain.decode()}, "
        f"{checked.lost or 'none'} lost"
    )
    if checked.last_event == "stop":
        said += ", ends with the stop of its sidecar"
    if checked.after != BEGINNING and not any(
        (other.chain, other.seq) == (checked.after, checked.first_seq - 1) for _, other in found
    ):
        said += f"; what stood before line {checked.first_seq} of the chain was not given"
    return said


def _order(path: Path) -> tuple[tuple[Path, str, str], int]:
    return _split(path)


def _family(path: Path) -> tuple[Path, str, str]:
    return _split(path)[0]


def _split(path: Path) -> tuple[tuple[Path, str, str], int]:
    """The folder, the name and the ending that files of one log share, and the number among them."""
    numbered = _NUMBERED.fullmatch(path.name)
    if numbered is None:
        return (path.parent, path.stem, path.suffix), _NEWEST
    return (path.parent, numbered["stem"], numbered["suffix"] or ""), int(numbered["number"])


def _name(path: Path) -> str:
    return visible(of_system(str(path)))
