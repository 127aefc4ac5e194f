"""The secret of this installation, which keys the hashes of arguments."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import Final

KEY_FILE: Final = "audit.key"
LENGTH: Final = 32
"""Bytes of the key."""


def installation_key(state_dir: Path) -> bytes:
    """The secret of this installation, made when it is first needed.

    Raises OSError if it cannot be stored, or is damaged.
    """
    path = state_dir / KEY_FILE
    if not path.exists():
        # Written under another name and then linked: if two sidecars start at once, both use the key of the faster one.
        draft = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())  # a power failure must not leave the name without what it is for
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    key = path.read_bytes()
    if len(key) != LENGTH:
        # Hashes by a key that is empty or cut off can be reversed by whoever tries values.
        raise OSError(errno.EINVAL, f"{KEY_FILE} is damaged; remove it, and hashes start again")
    return key
