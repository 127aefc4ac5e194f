"""The files of a recording, read from the oldest line to the newest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from sidecar.errors import StartError
from sidecar.rehearsal.recordings.recorded import Recorded, is_cut, read_line
from sidecar.text import of_system


class Line(msgspec.Struct, frozen=True):
    """A recorded call, and where it stands: `file:line`."""

    place: str
    call: Recorded


def files_of(path: Path) -> tuple[Path, ...]:
    """The files of the recording at `path`: the one that was put aside when it was full, where there is one, first."""
    older = path.with_name(f"{path.name}.1")
    return (older, path) if older.is_file() else (path,)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a recording holds: the number of its calls, a text for each line that cannot be read, one for each cut off.

    A line is cut off where its file ends within it, as that of a sidecar that was killed does. It is no call.
    """

    calls: int
    problems: tuple[str, ...]
    cut: tuple[str, ...]


def lines_of(path: Path) -> Iterator[Line]:
    """The recorded calls, without one that is cut off. Raises `StartError`; ValueError at one that cannot be read."""
    for place, line in _lines(path):
        if not is_cut(line):
            yield Line(place, read_line(line))


def look(path: Path) -> Looked:
    """Whether a recording can be read. Raises `StartError`."""
    calls, problems, cut = 0, [], []
    for place, line in _lines(path):
        if is_cut(line):
            cut.append(f"{place}: the file ends within this line, so it is left out: whoever wrote it was cut off")
            continue
        calls += 1
        try:
            read_line(line)
        except ValueError as problem:
            problems.append(f"{place}: {problem}")
    return Looked(calls, tuple(problems), tuple(cut))


def _lines(path: Path) -> Iterator[tuple[str, bytes]]:
    """The lines that are not empty, each with its end, and where each stands."""
    for file in files_of(path):
        name = of_system(str(file))
        try:
            if file.exists() and not file.is_file():  # a device may never end
                raise StartError(f"cannot read the recording {name}: it is no regular file")
            with file.open("rb") as opened:
                for number, line in enumerate(opened, 1):
                    if line.strip():
                        yield f"{name}:{number}", line
        except OSError as error:
            raise StartError(f"cannot read the recording {name}: {error.strerror}") from None
