"""Everything that an operator can set for a run, as one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from sidecar.policy.model import Mode
from sidecar.system.files import Found


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A unix socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class FixedHeader:
    """A header that we add to every request to a remote server: its name in lower case, its value or a file with it."""

    name: str
    value: str | None = field(repr=False)
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """A remote server: its URL, whether it speaks the legacy HTTP+SSE transport, and the headers that we add.

    `forward_headers` are the names, in lower case, of headers of the client that are forwarded beside the protocol's.
    """

    url: str
    legacy: bool
    headers: tuple[FixedHeader, ...]
    forward_authorization: bool
    forward_headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Jwt:
    """JWTs that authenticate callers: tokens of `issuer` for `audience`, signed with a key of `jwks`."""

    jwks: str
    issuer: str
    audience: str


@dataclass(frozen=True, slots=True)
class Listen:
    """An HTTP listener: its address, whom it admits, and how callers authenticate. `idle` is in seconds.

    `path` is that of its endpoint; for `sse`, that of the stream. The listener has at most `max_sessions` sessions, and
    `max_each` of one caller.
    """

    transport: Literal["http", "sse"]
    address: Address
    path: str
    allow_hosts: tuple[str, ...]
    allow_origins: tuple[str, ...]
    token_file: Path | None
    jwt: Jwt | None
    max_sessions: int
    max_each: int
    idle: float

    @property
    def knows_callers(self) -> bool:
        """True where every caller authenticates himself."""
        return self.token_file is not None or self.jwt is not None


@dataclass(frozen=True, slots=True)
class RemoteOpa:
    """An OPA that somebody else started: its unix socket, and the address and the token by which it fetches our bundle.

    The bundle is signed with `signing_key`, a private key in PEM.
    """

    socket: str
    listen: Address
    token: str = field(repr=False)
    signing_key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BundleSource:
    """Where the policy comes from as a bundle: a file, a directory, `http(s)://…` or `oci://…`.

    `keys` are public keys in PEM; a bundle counts if any of them verifies it. Without one nobody's signature is
    checked. `interval` is in seconds, between two looks at a source that cannot tell by itself. `secret` gives what to
    show there, where a token was set; `docker` is docker's `config.json`, which has logins for registries.
    """

    source: str
    keys: tuple[str, ...]
    interval: float
    secret: Callable[[], str] | None = field(default=None, repr=False)
    docker: Path | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Calls are recorded in the file `path`, in up to `size` bytes; `whole` keeps all arguments that are not masked."""

    path: Path
    whole: bool
    size: int


@dataclass(frozen=True, slots=True)
class Otlp:
    """A collector of spans: its URL, the headers that it wants, which may be secrets, and what we say of ourselves.

    `resource` are attributes of OpenTelemetry by their names, `service.name` among them.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    resource: tuple[tuple[str, str], ...] = ()


AuditFormat: TypeAlias = Literal["json", "cef", "rfc5424"]
AUDIT_FORMATS: Final[tuple[AuditFormat, ...]] = get_args(AuditFormat)


@dataclass(frozen=True, slots=True)
class AuditLog:
    """The audit log goes to `stderr`, `stdout`, `off`, a path, or, where `to` is None, a file in the state folder.

    A file is followed by another one at `size` bytes. Files of it that are older than `keep` seconds are removed, and
    the oldest ones where all together have more than `total` bytes.
    """

    to: str | None
    form: AuditFormat = "json"
    size: int = 64 << 20
    keep: float = 30 * 86_400.0
    total: int = 1 << 30


@dataclass(frozen=True, slots=True)
class ApprovalsListener:
    """Where the API and the page of approvals listen, and for whom.

    `url` is how people reach them, without a slash at its end; `allow_hosts` are more names by which they may come.
    """

    address: Address
    approvers_file: Path
    url: str
    allow_hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of `sidecar run`; the help of the options documents them for users.

    `policies` are the policy files as they were at the start; with `bundle` there are none. The server is `command`, or
    remote (`upstream`). The client is on standard input and output, or comes to `listen`.
    `opa_timeout` is in seconds, `max_message` in bytes. `mode`, if given, wins over the policy's. `fail_open` lets
    calls pass uncounted while the store cannot be used. `state_dsn`, which may hold a password, names a store of
    counters other than the file in `state_dir`; its keys begin with `state_prefix`. A telemetry address that is in use
    stops the start only if `telemetry_must`. Without `remote_opa` we start an OPA of our own. `shadow` is the path of a
    candidate policy, a file or a repository, which is asked about the same calls. Spans go to the collector `otlp`.
    """

    policies: tuple[Found, ...]
    command: tuple[str, ...]
    upstream: Upstream | None
    listen: Listen | None
    server: str
    mode: Mode | None
    opa_timeout: float
    remember: bool
    state_dir: Path
    state_dsn: str | None = field(repr=False)
    state_prefix: str
    fail_open: bool
    watch: bool
    telemetry: Address | UnixSocket | None
    telemetry_must: bool
    audit: AuditLog
    max_message: int
    approvals: ApprovalsListener | None = None
    remote_opa: RemoteOpa | None = None
    bundle: BundleSource | None = None
    recording: Recording | None = None
    shadow: Path | None = None
    otlp: Otlp | None = None
