"""A folder that keeps what a policy is compiled to: which of its files are not what would be written now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

COMPILED: Final = "compiled"
"""Where a policy repository keeps it, if it does."""


def there(folder: Path) -> set[str]:
    """The paths of all files below a folder, as paths of a bundle."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def differing(files: Mapping[str, str], folder: Path) -> list[str]:
    """The paths at which the folder has something else than the files of a bundle, or one of both has nothing."""
    found = there(folder)
    same = {path for path in found & files.keys() if (folder / path).read_bytes() == files[path].encode()}
    return sorted((found | files.keys()) - same)
