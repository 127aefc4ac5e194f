"""The secret of this installation, which keys the hashes of arguments."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import Final

KEY_FILE: Final = "audit.key"


def installation_key(state_dir: Path) -> bytes:
    """The secret of this installation, made when it is first needed. Raises OSError if it cannot be stored."""
    path = state_dir / KEY_FILE
    if not path.exists():
        # Written under another name and then linked: if two sidecars start at once, both use the key of the faster one.
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()
