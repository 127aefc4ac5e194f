"""Everything that an operator can set for a run, as one value."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from sidecar.policy.model import Mode


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RemoteOpa:
    """An OPA that somebody else started: its unix socket, and where it fetches our bundle, showing the token."""

    socket: str
    listen: Address
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """What `sidecar run` was told; the options' own documentation is the command line's.

    `opa_timeout` is in seconds, `max_message` in bytes; `mode` wins over the policy's where it is given; `fail_open`
    lets calls pass uncounted while the store cannot be used; `audit` is `stderr`, `off`, a path, or None for a file
    in the state folder. `state_dsn`, which may hold a password, names a store of counters other than the file in
    `state_dir`; its keys begin with `state_prefix`. Without `remote_opa` we start an OPA of our own.
    """

    policies: tuple[Path, ...]
    policies_seen: tuple[tuple[int, ...] | None, ...]
    command: tuple[str, ...]
    server: str
    mode: Mode | None
    opa_timeout: float
    remember: bool
    state_dir: Path
    state_dsn: str | None = field(repr=False)
    state_prefix: str
    fail_open: bool
    watch: bool
    telemetry: Address | None
    audit: str | None
    max_message: int
    remote_opa: RemoteOpa | None = None
