"""`sidecar run`: the sidecar itself, in front of one MCP server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import typer

from sidecar.cli import run_options
from sidecar.cli.bundle_options import Bundle, BundleInterval, BundleKey, bundle_source, signature_asked
from sidecar.cli.exposure import exposed
from sidecar.cli.listen_options import (
    MAX_PROGRAMS,
    MAX_SESSIONS,
    TELEMETRY,
    TRANSPORTS,
    approvals_on,
    check_unheard,
    check_unsent,
    headers_given,
    host_of,
    listen_on,
    upstream_at,
    variables_of,
)
from sidecar.cli.opa import BundleListen, BundleSigningKey, BundleTokenFile, OpaUrl, remote_opa
from sidecar.cli.options import (
    ConfigUnlessBundle,
    OpaBin,
    address_or_socket,
    default_state_dir,
    duration,
    from_variables,
    one_of,
    set_up_logging,
    size,
    written,
)
from sidecar.cli.otlp_options import SECRETS, exposed_headers, otlp_at
from sidecar.cli.policy_access import PolicyTokenFile, access
from sidecar.cli.precedence import giving_way, warnings
from sidecar.cli.recording_options import Record, RecordAll, RecordSize, recording_in
from sidecar.cli.server_names import server_name
from sidecar.engine import binary
from sidecar.errors import UsageError
from sidecar.policy.model import MODES
from sidecar.repository.prepare import prepare
from sidecar.repository.reload import first_look
from sidecar.repository.subject import subject
from sidecar.serve import app
from sidecar.settings import AUDIT_FORMATS, AuditLog, Settings
from sidecar.system import hardening
from sidecar.system.operator_log import fields, log
from sidecar.system.taken_secrets import TakenSecrets
from sidecar.text import of_system


def run_command(
    ctx: typer.Context,
    config: ConfigUnlessBundle = None,
    command: run_options.Command = None,
    transport: run_options.Transport = "stdio",
    bind: run_options.Bind = "127.0.0.1",
    port: run_options.Port = 8080,
    path: run_options.EndpointPath = None,
    upstream: run_options.Upstream = None,
    header: run_options.Header = None,
    forward_authorization: run_options.ForwardAuthorization = False,
    forward_header: run_options.ForwardHeader = None,
    auth_token_file: run_options.AuthTokenFile = None,
    jwt_jwks: run_options.JwtJwks = None,
    jwt_issuer: run_options.JwtIssuer = None,
    jwt_audience: run_options.JwtAudience = None,
    allow_host: run_options.AllowHost = None,
    allow_origin: run_options.AllowOrigin = None,
    max_sessions: run_options.MaxSessions = None,
    max_sessions_each: run_options.MaxSessionsEach = None,
    session_idle: run_options.SessionIdle = "30m",
    bundle: Bundle = None,
    bundle_key: BundleKey = None,
    bundle_interval: BundleInterval = "1s",
    policy_token_file: PolicyTokenFile = None,
    server: run_options.Server = None,
    mode: run_options.Mode = None,
    opa_bin: OpaBin = None,
    opa_url: OpaUrl = None,
    bundle_listen: BundleListen = None,
    bundle_token_file: BundleTokenFile = None,
    bundle_signing_key: BundleSigningKey = None,
    opa_timeout: run_options.OpaTimeout = "250ms",
    no_remember: run_options.NoRemember = False,
    state_dir: run_options.StateDir = None,
    state_dsn: run_options.StateDsn = None,
    state_prefix: run_options.StatePrefix = "",
    state_fail_mode: run_options.StateFailMode = "closed",
    no_watch: run_options.NoWatch = False,
    shadow: run_options.Shadow = None,
    telemetry: run_options.Telemetry = None,
    approvals: run_options.Approvals = None,
    approvers_file: run_options.ApproversFile = None,
    approvals_url: run_options.ApprovalsUrl = None,
    audit: run_options.Audit = None,
    audit_format: run_options.AuditFormat = "json",
    audit_size: run_options.AuditSize = "64MiB",
    audit_keep: run_options.AuditKeep = "30d",
    audit_total: run_options.AuditTotal = "1GiB",
    otlp: run_options.Otlp = None,
    record: Record = None,
    record_all: RecordAll = False,
    record_size: RecordSize = "64MiB",
    max_message: run_options.MaxMessage = "16MiB",
    log_level: run_options.LogLevel = "info",
    log_format: run_options.LogFormat = "text",
) -> int:
    """Serve MCP clients; judge their tool calls; pass the allowed ones to COMMAND or to the remote server."""
    hardening.close()
    set_up_logging(log_level, log_format)
    for number in app.STOP_SIGNALS:
        # Until the event loop takes over: exit in good order, so that temporary folders are removed.
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    # Until we serve: what it asks for is done at the start anyway. A signal that is ignored would be so in the server.
    signal.signal(signal.SIGHUP, lambda number, _: None)
    said = written(ctx)
    # What gives way to the command line is as if it were not there.
    left = giving_way(said, from_variables(ctx), signed=signature_asked())
    config, bundle = None if "config" in left else config, None if "bundle" in left else bundle
    upstream = None if "upstream" in left else upstream
    way = one_of("--transport", transport, TRANSPORTS)
    _check_server(command, upstream)
    if command and not config and bundle is None and command[0].endswith((".yaml", ".yml")):
        raise UsageError(f"no policy: write -c before {command[0]}, as `sidecar run -c policy.yaml -- COMMAND`")
    shipped = bundle_source(config, bundle, bundle_key, bundle_interval, access(policy_token_file, TakenSecrets()))
    if audit == "stdout" and way == "stdio":
        raise UsageError("--audit stdout is not possible here: standard output carries the protocol")
    answering = approvals_on(approvals, approvers_file, approvals_url, allow_host or [])
    listen = listen_on(
        way, bind, port, path, allow_host or [], allow_origin or [], auth_token_file,
        (jwt_jwks, jwt_issuer, jwt_audience), max_sessions or (MAX_PROGRAMS if command else MAX_SESSIONS),
        max_sessions_each, duration(session_idle),
    )  # fmt: skip
    if listen is None:
        # On stdio the approvals' listener may be the only one that hosts are for.
        check_unheard(said - {"allow_host"} if answering is not None else said)
    if upstream is None:
        check_unsent(said)
    headers = headers_given(header)
    remote = upstream_at(
        upstream, headers, forward_authorization=forward_authorization, forward_headers=forward_header or ()
    )
    watched = address_or_socket(telemetry) if telemetry else TELEMETRY if listen is not None else None
    if state_dsn is not None:
        # With --state-dsn on the command line the folder of the environment has what is not counted.
        _check_store(server, state_dir if "state_dir" not in left else None)
    settings = Settings(
        policies=first_look(config or ()),
        bundle=shipped,
        mode=one_of("--mode", mode, MODES) if mode else None,
        fail_open=one_of("--state-fail-mode", state_fail_mode, ("closed", "open")) == "open",
        watch=not no_watch,
        command=tuple(command or ()),
        upstream=remote,
        listen=listen,
        server=of_system(server or (server_name(command) if command else host_of(upstream or ""))),
        opa_timeout=duration(opa_timeout),
        remember=not no_remember,
        state_dir=state_dir or default_state_dir(),
        state_dsn=state_dsn,
        state_prefix=state_prefix,
        telemetry=watched,
        telemetry_must=bool(telemetry) and listen is not None,
        audit=AuditLog(
            audit,
            one_of("--audit-format", audit_format, AUDIT_FORMATS),
            size(audit_size),
            duration(audit_keep),
            size(audit_total),
        ),
        otlp=otlp_at(otlp, os.environ),
        max_message=size(max_message),
        approvals=answering,
        shadow=shadow,
        recording=recording_in(record, record_size, whole=record_all),
        remote_opa=remote_opa(opa_url, bundle_listen, bundle_token_file, bundle_signing_key),
    )
    # Before any process is started: the server, which policy and limits bind, must not get the passwords. A URL may
    # have one in it.
    hardening.forget(
        "SIDECAR_STATE_DSN", "SIDECAR_HEADER", "SIDECAR_POLICY_KEY", "SIDECAR_BUNDLE",
        "SIDECAR_UPSTREAM", *variables_of(headers), *(SECRETS if otlp else ()),
    )  # fmt: skip
    for warning in warnings(left):
        log.warning("%s", warning, extra=fields("setting_warning"))
    return _serve(settings, opa_bin)


def _serve(settings: Settings, opa_bin: Path | None) -> int:
    opa = binary.find(opa_bin)
    bundle, warnings = prepare(settings.policies, opa, serial=1) if settings.bundle is None else (None, [])
    if settings.shadow is not None:
        # Said here, where it can be mended; while we run, a candidate that cannot be used stops nothing.
        warnings = [*warnings, *(f"candidate: {warning}" for warning in subject(settings.shadow, opa).warnings)]
    for warning in warnings:
        log.warning("%s", warning, extra=fields("policy_warning"))
    plain = exposed_headers(settings.otlp) if settings.otlp is not None else None
    for warning in [*exposed(settings), *([plain] if plain is not None else [])]:
        log.warning("%s", warning, extra=fields("setting_warning"))
    return app.run(settings, bundle, opa)


def _check_server(command: list[str] | None, upstream: str | None) -> None:
    """Raise `UsageError` unless exactly one server is named."""
    if not command and upstream is None:
        raise UsageError(
            "no MCP server: write its command after --, as `sidecar run -c policy.yaml -- mcp-okx`, or give --upstream"
        )
    if command and upstream is not None:
        raise UsageError("two MCP servers: write a command after --, or give --upstream")


def _check_store(server: str | None, state_dir: Path | None) -> None:
    """Raise `UsageError` for options that do not go with a shared store."""
    if state_dir is not None:
        raise UsageError("counters are kept in one place: give --state-dir or --state-dsn")
    if not server:
        # The default comes from the command: machines with different launchers would count one server apart.
        raise UsageError("--state-dsn needs --server NAME: what counts together must be called the same everywhere")
