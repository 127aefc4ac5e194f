"""Writes a first policy, with comments: the one in `first_policy.yaml` beside this module, or a given text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sidecar.errors import StartError, UsageError

NAME: Final = "policy.yaml"
_TEXT: Final = Path(__file__).parent / "first_policy.yaml"


def first_policy(place: Path, text: str | None = None) -> Path:
    """Write a first policy, or `text`, to a file, or into a folder as `policy.yaml`. The path that was written.

    Raises `UsageError` where something is there already, `StartError` where nothing can be written.
    """
    path = place
    try:
        path = place / NAME if place.is_dir() else place
        # Not for everybody to write, whatever the umask: who writes a policy decides what passes.
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(file, "wb") as stream:
            stream.write(_TEXT.read_bytes() if text is None else text.encode())
    except FileExistsError:
        raise UsageError(f"{path} is there already, and stays as it is: name another file") from None
    except OSError as error:
        raise StartError(f"cannot write {path}: {error.strerror}; name another file") from None
    return path
