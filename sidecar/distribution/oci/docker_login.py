"""The login for a registry in docker's `config.json`. No program that keeps logins (`credsStore`) is run."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any, Final

from sidecar.errors import SourceUnavailable
from sidecar.system import files
from sidecar.system.files import Unreadable

MAX_FILE: Final = 1 << 20


def login(path: Path, host: str) -> str:
    """`name:password` for a host (with its port, where it has one), empty where the file has none or is not there.

    Raises `SourceUnavailable` where the file is there and cannot be used.
    """
    if not path.exists():
        return ""
    try:
        found = json.loads(files.read(path, MAX_FILE).data)
    except (Unreadable, ValueError, RecursionError):
        raise SourceUnavailable(f"{path}: cannot be read as docker's logins") from None
    logins = found.get("auths") if isinstance(found, dict) else None
    for name in (host, f"https://{host}", f"https://{host}/v1/", f"https://{host}/v2/"):
        entry = logins.get(name) if isinstance(logins, dict) else None
        if isinstance(entry, dict) and (said := _said(entry)):
            return said
    return ""


def _said(entry: dict[str, Any]) -> str:
    name, password, encoded = entry.get("username"), entry.get("password"), entry.get("auth")
    if isinstance(encoded, str) and encoded:
        try:
            decoded = base64.b64decode(encoded, validate=True).decode().rstrip("\0")
        except (binascii.Error, UnicodeDecodeError):
            return ""
        return decoded if ":" in decoded else ""
    return f"{name}:{password}" if isinstance(name, str) and isinstance(password, str) else ""
