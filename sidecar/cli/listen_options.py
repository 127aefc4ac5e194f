"""The options of `sidecar run` about listeners and remote servers, as values."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

from sidecar.cli.endpoint_path import endpoint_path
from sidecar.cli.exposure import is_wildcard
from sidecar.cli.options import address
from sidecar.errors import UsageError
from sidecar.http import hop_by_hop
from sidecar.http.origin import Origin, parse
from sidecar.settings import Address, ApprovalsListener, FixedHeader, Jwt, Listen, Upstream
from sidecar.system import ownership

TRANSPORTS: Final = ("stdio", "http", "sse")
TELEMETRY: Final = Address("127.0.0.1", 9464)
"""The default address of a listener's telemetry."""

MAX_SESSIONS: Final = 1000
MAX_PROGRAMS: Final = 100
"""Sessions at once if each has a server process of its own."""

OF_LISTENERS: Final = (
    "bind", "port", "path", "auth_token_file", "jwt_jwks", "jwt_issuer", "jwt_audience", "allow_host", "allow_origin",
    "max_sessions", "max_sessions_each", "session_idle",
)  # fmt: skip
"""Options that do nothing without a listener."""

OF_REMOTE_SERVERS: Final = ("header", "forward_authorization", "forward_header")
"""Options that do nothing without a remote server."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER = re.compile(rf"(?P<name>{_NAME.pattern}):[ \t]*(?P<value>.*\S)[ \t]*")
_NOT_TO_SET: Final = frozenset(
    {"host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "mcp-session-id"}
)  # fmt: skip


def listen_on(
    transport: str, bind: str, port: int, path: str | None, hosts: Sequence[str], origins: Sequence[str],
    token_file: Path | None, jwt: tuple[str | None, str | None, str | None], max_sessions: int, max_each: int | None,
    idle: float,
) -> Listen | None:  # fmt: skip
    """The listener, or None on stdio, where the rest says nothing. Raises `UsageError` for what does not go together.

    Raises `StartError` for a file that somebody else could change.
    """
    if transport == "stdio":
        return None
    jwks, issuer, audience = jwt
    proof = None
    if jwks is not None:
        if not issuer or not audience:
            raise UsageError("--jwt-jwks needs --jwt-issuer and --jwt-audience: whose tokens, and meant for whom")
        proof = Jwt(jwks, issuer, audience)
    elif issuer or audience:
        raise UsageError("--jwt-issuer and --jwt-audience need --jwt-jwks: the keys that tokens are verified by")
    kind: Literal["http", "sse"] = "http" if transport == "http" else "sse"
    served = endpoint_path(path, kind)
    if token_file is not None:
        ownership.check(token_file, "--auth-token-file")
    if jwks is not None and "://" not in jwks:
        ownership.check(Path(jwks), "--jwt-jwks")
    return Listen(
        kind, Address(bind, port), served, tuple(hosts), tuple(origins), token_file, proof, max_sessions,
        max_each or (max_sessions + 1) // 2, idle,
    )  # fmt: skip


def check_unheard(written: Collection[str]) -> None:
    """Raise `UsageError` where, of these options of a run on stdio, one is about a listener that there is not.

    It is for those of the command line: an environment may be set for several sidecars, of which others listen.
    """
    if unheard := _flags(OF_LISTENERS, written):
        raise UsageError(
            f"nobody calls over HTTP here: {' and '.join(unheard)} would do nothing; "
            "options of a listener need --transport http or sse"
        )


def check_unsent(written: Collection[str]) -> None:
    """Raise `UsageError` where, of these options of a run without a remote server, one is about such a server.

    It too is for those of the command line.
    """
    if unsent := _flags(OF_REMOTE_SERVERS, written):
        raise UsageError(
            f"no remote server is asked here: {' and '.join(unsent)} would do nothing; "
            "--header and --forward-… need --upstream"
        )


def headers_given(options: Sequence[str] | None) -> list[str]:
    """The values of `--header`, else those of the environment, one a line: typer would split a list at every blank."""
    return list(options or [line for line in os.environ.get("SIDECAR_HEADER", "").splitlines() if line.strip()])


def variables_of(headers: Sequence[str]) -> list[str]:
    """The environment variables that headers take their values from."""
    values = [found["value"] for text in headers if (found := _HEADER.fullmatch(text))]
    return [value.removeprefix("env:") for value in values if value.startswith("env:")]


def upstream_at(
    url: str | None, headers: Sequence[str], *, forward_authorization: bool, forward_headers: Sequence[str] = ()
) -> Upstream | None:  # fmt: skip
    """The remote server, or None for a command, where the rest says nothing. Raises `UsageError`."""
    if url is None:
        return None
    try:
        parse(url)
    except ValueError as problem:
        # Without the URL, which may hold a password.
        raise UsageError(f"--upstream: {problem}") from None
    fixed = tuple(map(_header, headers))
    if len({one.name for one in fixed}) != len(fixed):
        raise UsageError("--header gives one header twice: give each once")
    if forward_authorization and any(one.name == "authorization" for one in fixed):
        raise UsageError("--forward-authorization and a --header Authorization: choose whose credentials are sent")
    forwarded = tuple(map(_forwarded, forward_headers))
    for one in fixed:
        if one.name in forwarded:
            raise UsageError(f"--forward-header and --header {one.name}: choose whose is sent")
    return Upstream(url, urlsplit(url).path.endswith("/sse"), fixed, forward_authorization, forwarded)


def approvals_on(
    where: str | None, approvers: Path | None, url: str | None, hosts: Sequence[str]
) -> ApprovalsListener | None:  # fmt: skip
    """Where people answer approvals, or None where they do not over HTTP. Raises `UsageError`.

    `url` is what links begin with; its host is one of those by which they come. Raises `StartError` for a file that
    somebody else could change.
    """
    if where is None:
        if approvers is not None or url is not None:
            given = "--approvers-file" if approvers is not None else "--approvals-url"
            raise UsageError(f"{given} is for the approvals' listener: it needs --approvals HOST:PORT")
        return None
    if approvers is None:
        raise UsageError(
            "--approvals needs --approvers-file: agents can reach that listener too, so nobody answers without a token"
        )
    ownership.check(approvers, "--approvers-file")
    at = address(where)
    if url is None:
        if at.port == 0 or is_wildcard(at.host):
            which = "any port" if at.port == 0 else "every address of this machine"
            raise UsageError(
                f"--approvals {where} is {which}, which no link can lead to: say how people come with --approvals-url, "
                "as http://localhost:9465 where a port is forwarded"
            )
        return ApprovalsListener(at, approvers, f"http://{_in_url(at.host, at.port)}", tuple(hosts))
    origin = _page(url)
    return ApprovalsListener(at, approvers, url.removesuffix("/"), (*hosts, _in_url(origin.host, origin.port)))


def host_of(url: str) -> str:
    """The default name of a remote server: its host."""
    return urlsplit(url).hostname or url


def _page(url: str) -> Origin:
    """Where people find approvals, by the URL that links to them begin with. Raises `UsageError`."""
    try:
        origin, target = parse(url)
    except ValueError as problem:
        raise UsageError(f"--approvals-url: {problem}") from None
    if target not in ("", "/"):
        raise UsageError("--approvals-url: write scheme, host and port alone, as https://approvals.example:8443")
    return origin


def _in_url(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _flags(names: Sequence[str], written: Collection[str]) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name in names if name in written]


def _forwarded(text: str) -> str:
    name = text.lower()
    if not _NAME.fullmatch(name):
        raise UsageError(f"--forward-header {text!r} is no name of a header: write it alone, as X-Tenant")
    if name in hop_by_hop.CREDENTIALS:
        raise UsageError(f"--forward-header {name}: credentials of the client go along with --forward-authorization")
    if name in hop_by_hop.HOP_BY_HOP | hop_by_hop.OURS:
        raise UsageError(f"--forward-header {name}: this one is ours to send")
    return name


def _header(text: str) -> FixedHeader:
    found = _HEADER.fullmatch(text)
    if found is None:
        raise UsageError("a --header is written 'Name: value', 'Name: env:VARIABLE' or 'Name: file:PATH'")
    name, value = found["name"].lower(), found["value"]
    if name in _NOT_TO_SET:
        raise UsageError(f"--header {name}: this one is ours to send")
    source, _, where = value.partition(":")
    if source == "env":
        if not os.environ.get(where):
            raise UsageError(f"--header {name}: the environment has no {where}")
        value = os.environ[where].strip()
    elif source == "file":
        ownership.check(Path(where), f"--header {name}")
        return FixedHeader(name, None, Path(where))
    if not re.fullmatch(r"[\x20-\x7e\t\x80-\xff]+", value):
        raise UsageError(f"--header {name}: its value is empty or has characters that no header can carry")
    return FixedHeader(name, value)
