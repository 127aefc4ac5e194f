"""The example policies that are shipped: by name, as texts."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidecar.errors import UsageError

_PACKAGE: Final = Path(__file__).parent.parent
_SCHEMA: Final = "# yaml-language-server: "


def names() -> list[str]:
    """The names of all, sorted."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def text(name: str) -> str:
    """The example of that name. Raises `UsageError`, which lists all, if there is none.

    A first line that tells an editor where a checkout has the schema is left out: elsewhere it leads nowhere.
    """
    if name not in names():
        raise UsageError(f"there is no example {name!r}: {', '.join(names())}")
    lines = (_folder() / f"{name}.yaml").read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(lines[1:] if lines[0].startswith(_SCHEMA) else lines)


def _folder() -> Path:
    installed = _PACKAGE / "_policies"
    return installed if installed.is_dir() else _PACKAGE.parent / "policies"
