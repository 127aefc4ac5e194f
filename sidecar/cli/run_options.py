"""The options of `sidecar run`: names, environment variables, help.

Their defaults stand in `run`, their values in `sidecar.settings`. Options shared with other commands are in `options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

from sidecar.cli.listen_options import MAX_PROGRAMS, MAX_SESSIONS

Command: TypeAlias = Annotated[
    list[str] | None,
    typer.Argument(metavar="-- COMMAND...", show_default=False, help="What starts the MCP server, and its arguments."),
]
Transport: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_TRANSPORT",
        metavar="stdio|http|sse",
        help="How clients come: over stdin and stdout, or to a listener.",
    ),
]
Bind: TypeAlias = Annotated[
    str,
    typer.Option(envvar="SIDECAR_BIND", metavar="ADDRESS", help="The address that the listener takes connections on."),
]
Port: TypeAlias = Annotated[
    int,
    typer.Option(envvar="SIDECAR_PORT", metavar="PORT", min=0, max=65535, help="The listener's port; 0 is a free one."),
]
EndpointPath: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_PATH",
        metavar="PATH",
        show_default=False,
        help="The path that clients come to, behind a proxy that keeps a prefix. [default: /mcp; for sse /sse]",
    ),
]
Upstream: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_UPSTREAM",
        metavar="URL",
        show_default=False,
        help="A remote MCP server instead of COMMAND. A path that ends in /sse is legacy HTTP+SSE.",
    ),
]
Header: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'K: V'",
        show_default=False,
        help="A header for the remote server; V may be env:NAME or file:PATH. [env var: SIDECAR_HEADER, one a line]",
    ),
]
ForwardAuthorization: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--forward-authorization",
        envvar="SIDECAR_FORWARD_AUTHORIZATION",
        help="Send the client's own credentials on to the remote server.",
    ),
]
ForwardHeader: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        envvar="SIDECAR_FORWARD_HEADER",
        metavar="NAME",
        show_default=False,
        help="A header of the client that the remote server gets too. [default: those of the protocol]",
    ),
]
AuthTokenFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_AUTH_TOKEN_FILE",
        metavar="PATH",
        show_default=False,
        help="Callers must show one of these bearer tokens, one a line.",
    ),
]
JwtJwks: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_JWT_JWKS",
        metavar="PATH|URL",
        show_default=False,
        help="Callers must show a JWT that these keys verify; needs --jwt-issuer and --jwt-audience.",
    ),
]
JwtIssuer: TypeAlias = Annotated[
    str | None,
    typer.Option(envvar="SIDECAR_JWT_ISSUER", metavar="NAME", help="Who issues these JWTs: `iss`.", show_default=False),
]
JwtAudience: TypeAlias = Annotated[
    str | None,
    typer.Option(envvar="SIDECAR_JWT_AUDIENCE", metavar="NAME", help="Whom they are for: `aud`.", show_default=False),
]
AllowHost: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        envvar="SIDECAR_ALLOW_HOST",
        metavar="HOST[:PORT]",
        show_default=False,
        help="A further name by which clients may reach the listener: the Host header. [default: loopback names]",
    ),
]
AllowOrigin: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        envvar="SIDECAR_ALLOW_ORIGIN",
        metavar="ORIGIN",
        show_default=False,
        help="A further origin whose web pages may call: the Origin header. [default: loopback names]",
    ),
]
MaxSessions: TypeAlias = Annotated[
    int | None,
    typer.Option(
        envvar="SIDECAR_MAX_SESSIONS",
        metavar="N",
        min=1,
        show_default=False,
        help=f"The most sessions at once. [default: {MAX_SESSIONS}; {MAX_PROGRAMS} in front of a COMMAND]",
    ),
]
MaxSessionsEach: TypeAlias = Annotated[
    int | None,
    typer.Option(
        envvar="SIDECAR_MAX_SESSIONS_EACH",
        metavar="N",
        min=1,
        show_default=False,
        help="The most of one caller, or of one address if callers do not authenticate. [default: half of all]",
    ),
]
SessionIdle: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_SESSION_IDLE", metavar="DURATION", help="A session ends when it was unused for this time."
    ),
]
Server: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_SERVER",
        metavar="NAME",
        help="The server's name in metrics and counters. [default: the command's, or the host of the URL]",
    ),
]
Mode: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_MODE",
        metavar="enforce|monitor",
        help="Refuse calls, or only record what would be refused. [default: what the policy says]",
    ),
]
OpaTimeout: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_OPA_TIMEOUT",
        metavar="DURATION",
        help="The most that one decision may take; then the answer is no.",
    ),
]
NoRemember: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-remember",
        envvar="SIDECAR_NO_REMEMBER",
        help="Ask OPA about every call, also about one that it answered before.",
    ),
]
StateDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_STATE_DIR",
        metavar="DIR",
        help="The folder for counters, approvals and the audit log. [default: $XDG_STATE_HOME/intercept-sidecar]",
    ),
]
StateDsn: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_STATE_DSN",
        metavar="redis://HOST",
        help="Redis or Valkey for counters and approvals, instead of the folder; needs --server.",
    ),
]
StatePrefix: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_STATE_PREFIX", metavar="TEXT", help="What keys in that store begin with.", show_default=False
    ),
]
StateFailMode: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_STATE_FAIL_MODE",
        metavar="closed|open",
        help="What becomes of calls that cannot be counted: refused, or passed uncounted.",
    ),
]
NoWatch: TypeAlias = Annotated[
    bool, typer.Option("--no-watch", envvar="SIDECAR_NO_WATCH", help="Do not reload when a policy file changes.")
]
Shadow: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_SHADOW",
        metavar="POLICY",
        show_default=False,
        help="A candidate policy, asked about the same calls after the verdict: what it would change is counted.",
    ),
]
Telemetry: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_TELEMETRY",
        metavar="HOST:PORT|unix:PATH",
        show_default=False,
        help="Serve /metrics, /healthz, /readyz there; port 0 is any. [default: none on stdio, else 127.0.0.1:9464]",
    ),
]
Approvals: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_APPROVALS",
        metavar="HOST:PORT",
        show_default=False,
        help="Serve the approvals' page and API there; needs --approvers-file. [default: the command line only]",
    ),
]
ApproversFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        envvar="SIDECAR_APPROVERS_FILE",
        metavar="PATH",
        show_default=False,
        help="Who may answer there, with their tokens.",
    ),
]
ApprovalsUrl: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_APPROVALS_URL",
        metavar="URL",
        show_default=False,
        help="The address of that page in links. [default: http://HOST:PORT]",
    ),
]
Audit: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_AUDIT",
        metavar="PATH|stderr|stdout|off",
        help="Where audit lines go, one for each decision. [default: a file in the state folder]",
    ),
]
AuditFormat: TypeAlias = Annotated[
    str, typer.Option(envvar="SIDECAR_AUDIT_FORMAT", metavar="json|cef|rfc5424", help="The form of the audit lines.")
]
AuditSize: TypeAlias = Annotated[
    str,
    typer.Option(envvar="SIDECAR_AUDIT_SIZE", metavar="SIZE", help="A new audit file begins when one has this size."),
]
AuditKeep: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_AUDIT_KEEP", metavar="DURATION", help="Audit files of ended runs are removed after this time."
    ),
]
AuditTotal: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_AUDIT_TOTAL",
        metavar="SIZE",
        help="The oldest audit files are removed when all together have more than this.",
    ),
]
Otlp: TypeAlias = Annotated[
    str | None,
    typer.Option(
        envvar="SIDECAR_OTLP",
        metavar="URL",
        show_default=False,
        help="Send one span for each call to this OpenTelemetry collector, as http://localhost:4318. [default: none]",
    ),
]
MaxMessage: TypeAlias = Annotated[
    str,
    typer.Option(envvar="SIDECAR_MAX_MESSAGE", metavar="SIZE", help="Larger messages are refused, in both directions."),
]
LogLevel: TypeAlias = Annotated[
    str,
    typer.Option(
        envvar="SIDECAR_LOG_LEVEL", metavar="LEVEL", help="The least that is logged: debug, info, warning or error."
    ),
]
LogFormat: TypeAlias = Annotated[
    str, typer.Option(envvar="SIDECAR_LOG_FORMAT", metavar="text|json", help="text for people, json for programs.")
]
