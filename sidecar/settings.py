"""Everything that an operator can set for a run, as one value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `sidecar run` was told; the options' own documentation is the command line's.

    `opa_timeout` is in seconds, `max_message` in bytes; `audit` is `stderr`, `off`, a path, or None for a file
    in the state folder.
    """

    command: tuple[str, ...]
    server: str
    opa_timeout: float
    remember: bool
    state_dir: Path
    telemetry: Address | None
    audit: str | None
    max_message: int
