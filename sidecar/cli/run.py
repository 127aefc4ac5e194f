"""`sidecar run`: the sidecar itself, in front of one MCP server."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from sidecar.cli.listening import (
    MAX_PROGRAMS,
    MAX_SESSIONS,
    TELEMETRY,
    TRANSPORTS,
    headers_given,
    host_of,
    listen_on,
    upstream_at,
    variables_of,
)
from sidecar.cli.opa import BundleListen, BundleSigningKey, BundleTokenFile, OpaUrl, remote_opa
from sidecar.cli.options import Config, OpaBin, address, duration, one_of, set_up_logging, size
from sidecar.engine import binary
from sidecar.errors import UsageError
from sidecar.policy.model import MODES
from sidecar.repository.reload import first_look, prepare
from sidecar.serve import app
from sidecar.settings import Settings
from sidecar.system import hardening, ownership
from sidecar.text import of_system


def run_command(
    config: Config,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", show_default=False)] = None,
    transport: Annotated[
        str,
        typer.Option(
            envvar="SIDECAR_TRANSPORT", metavar="stdio|http|sse", help="How clients come: see also --bind, --port."
        ),
    ] = "stdio",
    bind: Annotated[
        str, typer.Option(envvar="SIDECAR_BIND", metavar="ADDRESS", help="Where the listener listens.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="SIDECAR_PORT", min=0, max=65535, help="Its port; 0 is any.")] = 8080,
    upstream: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_UPSTREAM",
            metavar="URL",
            show_default=False,
            help="A remote MCP server instead of COMMAND. A path that ends in /sse is legacy HTTP+SSE.",
        ),
    ] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'K: V'",
            show_default=False,
            help="A header for the remote server; V may be env:NAME or file:PATH."
            " [env var: SIDECAR_HEADER, one a line]",
        ),
    ] = None,
    forward_authorization: Annotated[
        bool,
        typer.Option(
            "--forward-authorization",
            envvar="SIDECAR_FORWARD_AUTHORIZATION",
            help="Send the client's own credentials on to the remote server.",
        ),
    ] = False,
    forward_header: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SIDECAR_FORWARD_HEADER",
            metavar="NAME",
            show_default=False,
            help="A header of the client that the remote server gets too. [default: those of the protocol]",
        ),
    ] = None,
    auth_token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="SIDECAR_AUTH_TOKEN_FILE", show_default=False, help="Bearer tokens that admit callers, one a line."
        ),
    ] = None,
    jwt_jwks: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_JWT_JWKS",
            metavar="PATH|URL",
            show_default=False,
            help="Keys of the issuer whose JWTs admit callers; needs --jwt-issuer and --jwt-audience.",
        ),
    ] = None,
    jwt_issuer: Annotated[
        str | None, typer.Option(envvar="SIDECAR_JWT_ISSUER", help="Their `iss`.", show_default=False)
    ] = None,
    jwt_audience: Annotated[
        str | None, typer.Option(envvar="SIDECAR_JWT_AUDIENCE", help="Their `aud`.", show_default=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SIDECAR_ALLOW_HOST",
            metavar="HOST[:PORT]",
            show_default=False,
            help="One more Host that the listener serves. [default: loopback names]",
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            envvar="SIDECAR_ALLOW_ORIGIN",
            metavar="ORIGIN",
            show_default=False,
            help="One more Origin that the listener serves. [default: loopback names]",
        ),
    ] = None,
    max_sessions: Annotated[
        int | None,
        typer.Option(
            envvar="SIDECAR_MAX_SESSIONS",
            min=1,
            show_default=False,
            help=f"Sessions of the listener at once. [default: {MAX_SESSIONS}; {MAX_PROGRAMS} in front of a COMMAND]",
        ),
    ] = None,
    max_sessions_each: Annotated[
        int | None,
        typer.Option(
            envvar="SIDECAR_MAX_SESSIONS_EACH",
            min=1,
            show_default=False,
            help="Sessions of one caller at once, of one address where nobody knows callers. [default: half of all]",
        ),
    ] = None,
    session_idle: Annotated[
        str, typer.Option(envvar="SIDECAR_SESSION_IDLE", help="An unused session ends after this time.")
    ] = "30m",
    server: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_SERVER", help="Name of the server in metrics and counters. [default: the command]"
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_MODE", metavar="enforce|monitor", help="Wins over the policy's. [default: from the file]"
        ),
    ] = None,
    opa_bin: OpaBin = None,
    opa_url: OpaUrl = None,
    bundle_listen: BundleListen = None,
    bundle_token_file: BundleTokenFile = None,
    bundle_signing_key: BundleSigningKey = None,
    opa_timeout: Annotated[
        str, typer.Option(envvar="SIDECAR_OPA_TIMEOUT", help="Time for one decision; then the answer is no.")
    ] = "250ms",
    no_remember: Annotated[
        bool, typer.Option("--no-remember", envvar="SIDECAR_NO_REMEMBER", help="Ask the engine every time.")
    ] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SIDECAR_STATE_DIR",
            help="Folder for counters and the audit log. [default: $XDG_STATE_HOME/intercept-sidecar]",
        ),
    ] = None,
    state_dsn: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_STATE_DSN",
            metavar="redis://…",
            help="Redis or Valkey for counters, instead of the folder; needs --server.",
        ),
    ] = None,
    state_prefix: Annotated[
        str,
        typer.Option(envvar="SIDECAR_STATE_PREFIX", help="What keys in that store begin with.", show_default=False),
    ] = "",
    state_fail_mode: Annotated[
        str,
        typer.Option(
            envvar="SIDECAR_STATE_FAIL_MODE",
            metavar="closed|open",
            help="What becomes of calls that cannot be counted.",
        ),
    ] = "closed",
    no_watch: Annotated[
        bool, typer.Option("--no-watch", envvar="SIDECAR_NO_WATCH", help="Do not reload when a policy file changes.")
    ] = False,
    telemetry: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_TELEMETRY",
            metavar="HOST:PORT",
            show_default=False,
            help="Serve /metrics, /healthz, /readyz there. [default: none on stdio, else 127.0.0.1:9464]",
        ),
    ] = None,
    audit: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_AUDIT",
            metavar="PATH|stderr|stdout|off",
            help="One JSON line per decision. [default: in the state folder]",
        ),
    ] = None,
    max_message: Annotated[
        str, typer.Option(envvar="SIDECAR_MAX_MESSAGE", help="Larger messages are refused, in both directions.")
    ] = "16MiB",
    log_level: Annotated[str, typer.Option(envvar="SIDECAR_LOG_LEVEL", help="debug, info, warning or error.")] = "info",
    log_format: Annotated[str, typer.Option(envvar="SIDECAR_LOG_FORMAT", help="text or json.")] = "text",
) -> int:
    """Serve MCP clients; judge their tool calls; pass the allowed ones to COMMAND or to the remote server."""
    hardening.close()
    set_up_logging(log_level, log_format)
    for number in app.STOP_SIGNALS:
        # Until the event loop takes over: leave in good order, so that no temporary folder stays.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    way = one_of("--transport", transport, TRANSPORTS)
    if not command and upstream is None:
        raise UsageError(
            "no MCP server: write its command after --, as `sidecar run -c policy.yaml -- mcp-okx`, or give --upstream"
        )
    if command and upstream is not None:
        raise UsageError("two MCP servers: write a command after --, or give --upstream")
    if audit == "stdout" and way == "stdio":
        raise UsageError("--audit stdout is not possible here: standard output carries the protocol")
    listen = listen_on(
        way, bind, port, allow_host or [], allow_origin or [], auth_token_file, (jwt_jwks, jwt_issuer, jwt_audience),
        max_sessions or (MAX_PROGRAMS if command else MAX_SESSIONS), max_sessions_each, duration(session_idle),
    )  # fmt: skip
    headers = headers_given(header)
    remote = upstream_at(
        upstream, headers, forward_authorization=forward_authorization, forward_headers=forward_header or ()
    )
    watched = address(telemetry) if telemetry else TELEMETRY if listen is not None else None
    if state_dsn is not None:
        _check_store(server, state_dir)
    settings = Settings(
        policies=first_look(config),
        mode=one_of("--mode", mode, MODES) if mode else None,
        fail_open=one_of("--state-fail-mode", state_fail_mode, ("closed", "open")) == "open",
        watch=not no_watch,
        command=tuple(command or ()),
        upstream=remote,
        listen=listen,
        server=of_system(server or (server_name(command) if command else host_of(upstream or ""))),
        opa_timeout=duration(opa_timeout),
        remember=not no_remember,
        state_dir=state_dir or _default_state_dir(),
        state_dsn=state_dsn,
        state_prefix=state_prefix,
        telemetry=watched,
        telemetry_must=bool(telemetry) and listen is not None,
        audit=audit,
        max_message=size(max_message),
        remote_opa=remote_opa(opa_url, bundle_listen, bundle_token_file, bundle_signing_key),
    )
    # Before anything is started: whom policy and limits bind must not have the passwords.
    hardening.forget("SIDECAR_STATE_DSN", "SIDECAR_HEADER", *variables_of(headers))
    opa = binary.find(opa_bin)
    bundle, warnings = prepare(settings.policies, opa, serial=1)
    for warning in [*warnings, *map(_open_to_all, filter(ownership.is_open, config))]:
        print(warning, file=sys.stderr)
    return app.run(settings, bundle, opa)


def _open_to_all(policy: Path) -> str:
    """Only a warning: a policy may come from a folder that is shared on purpose."""
    return f"{policy}: everybody may write this policy and so decide what passes: `chmod o-w {policy}`"


def _check_store(server: str | None, state_dir: Path | None) -> None:
    """Whether a store that is shared may be used. Raises `UsageError`."""
    if state_dir is not None:
        raise UsageError("counters are kept in one place: give --state-dir or --state-dsn")
    if not server:
        # Machines with different launchers would count apart what is one server.
        raise UsageError("--state-dsn needs --server NAME: what counts together must be called the same everywhere")


def server_name(command: list[str]) -> str:
    """What a server is called when nobody says: its program, or what a launcher such as npx or python is given."""
    words = list(command)
    name = _base(words.pop(0))
    while _LAUNCHER.fullmatch(name) and words:
        word = words.pop(0)
        if not word.startswith("-") and word not in ("run", "tool", "exec"):
            name = _base(word)
            break
    return name


_LAUNCHER = re.compile(r"(python|python3|pypy3?)(\.[0-9]+)?|node|npx|bunx?|deno|uvx?|pipx|env|sh|bash")


def _base(word: str) -> str:
    return re.sub(r"(\.(py|js|mjs|ts|sh)|@[^/@]+)$", "", word.rsplit("/", 1)[-1]) or word


def _default_state_dir() -> Path:
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "intercept-sidecar"
