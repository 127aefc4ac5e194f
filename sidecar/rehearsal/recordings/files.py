"""The files of a recording, read from the oldest line to the newest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from sidecar.errors import StartError
from sidecar.rehearsal.recordings.recorded import Recorded, read_line
from sidecar.text import of_system


class Line(msgspec.Struct, frozen=True):
    """A recorded call, and where it stands: `file:line`."""

    place: str
    call: Recorded


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of the recording at `path`: the one that was put aside when it was full, where there is one, first."""
    older = path.with_name(f"{path.name}.1")
    return (older, path) if older.is_file() else (path,)


def lines_of(path: Path) -> Iterator[Line]:
    """The recorded calls. Raises `StartError`, and ValueError at a line that cannot be read."""
    for place, line in _lines(path):
        yield Line(place, read_line(line))


def unreadable(path: Path) -> tuple[int, list[str]]:
    """How many lines a recording has, and what is wrong with each that cannot be read. Raises `StartError`."""
    count, problems = 0, []
    for count, (place, line) in enumerate(_lines(path), 1):  # noqa: B007 - it is the number of all lines in the end
        try:
            read_line(line)
        except ValueError as problem:
            problems.append(f"{place}: {problem}")
    return count, problems


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines that are not empty, and where each stands."""
    for file in files_of(path):
        name = of_system(str(file))
        try:
            with file.open("rb") as opened:
                for number, line in enumerate(opened, 1):
                    if line.strip():
                        yield f"{name}:{number}", line.rstrip(b"\r\n")
        except OSError as error:
            raise StartError(f"cannot read the recording {name}: {error.strerror}") from None
