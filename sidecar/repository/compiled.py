"""A folder that keeps what a policy is compiled to: which of its files are not what would be written now."""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

COMPILED: Final = "compiled"
"""Where a policy repository keeps it, if it does."""


def there(folder: Path) -> set[str]:
    """The paths of all files and links below a folder, as paths of a bundle."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_symlink() or path.is_file()}


def odd(folder: Path) -> str:
    """Of what stands below a folder the first that is neither a file nor a folder, and what it is; empty if all are.

    To write there could change a file anywhere, or wait for ever.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            return f"{path} is a symbolic link"
        if not (path.is_dir() or path.is_file()):
            return f"{path} is no regular file"
    return ""


def differing(files: Mapping[str, str], folder: Path) -> list[str]:
    """The paths at which the folder has something else than the files of a bundle, or one of both has nothing."""
    found = there(folder)
    same = {path for path in found & files.keys() if _holds(folder / path, files[path].encode())}
    return sorted((found | files.keys()) - same)


def _holds(path: Path, data: bytes) -> bool:
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size == len(data) and path.read_bytes() == data
