"""Begins a policy repository: writes one that works, from the files in `template` beside this module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar import __version__
from sidecar.errors import StartError, UsageError

_TEMPLATE: Final = Path(__file__).parent / "template"
_DOT: Final = "dot."
"""What a name begins with there that begins with a dot in a repository, where such files are not for this project."""
_VERSION: Final = "@VERSION@"
_PROGRAMS: Final = "ci"
"""The folder whose files are run."""


def begin(folder: Path) -> tuple[str, ...]:
    """Write a policy repository into a folder that is missing or empty. The paths that were written, sorted.

    Raises `UsageError` for a folder that is not empty, `StartError` where it cannot be written.
    """
    try:
        if folder.is_symlink() or folder.exists():
            _refuse_unless_empty(folder)
        return tuple(_write(folder))
    except OSError as error:
        raise StartError(f"cannot write {error.filename or folder}: {error.strerror}; name another folder") from None


def _refuse_unless_empty(folder: Path) -> None:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name one that is missing or empty")
    if any(folder.iterdir()):
        raise UsageError(
            f"{folder} is not empty: name a folder that is missing or empty, so that nothing is overwritten"
        )


def _write(folder: Path) -> Iterator[str]:
    for source in sorted(_TEMPLATE.rglob("*")):
        if not source.is_file():
            continue
        parts = source.relative_to(_TEMPLATE).parts
        name = "/".join(f".{part.removeprefix(_DOT)}" if part.startswith(_DOT) else part for part in parts)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8").replace(_VERSION, __version__))
        if parts[0] == _PROGRAMS:
            path.chmod(path.stat().st_mode | 0o111)
        yield name
