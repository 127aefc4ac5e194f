"""The help of a command with many options: in groups, by what they are about, narrow enough for 80 columns."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperOption

MANY: Final = 10
"""Options of a command from which on its help is in groups."""

PANELS: Final = {
    "Policy": (
        "config", "bundle", "bundle_key", "bundle_interval", "policy_token_file", "mode", "no_watch", "shadow",
    ),
    "Server": ("upstream", "header", "forward_authorization", "forward_header", "server", "max_message"),
    "Clients": (
        "transport", "bind", "port", "path", "auth_token_file", "jwt_jwks", "jwt_issuer", "jwt_audience", "allow_host",
        "allow_origin", "max_sessions", "max_sessions_each", "session_idle",
    ),
    "Engine": (
        "opa_bin", "opa_timeout", "no_remember", "opa_url", "bundle_listen", "bundle_token_file", "bundle_signing_key",
    ),
    "Counters and approvals": (
        "state_dir", "state_dsn", "state_prefix", "state_fail_mode", "approvals", "approvers_file", "approvals_url",
    ),
    "Logs, metrics and audit": (
        "telemetry", "audit", "audit_format", "audit_size", "audit_keep", "audit_total", "otlp", "record", "record_all",
        "record_size", "log_level", "log_format",
    ),
}  # fmt: skip
"""The groups in the order of the help, and their options."""

VARIABLES: Final = (
    "An environment variable can set each of these options too: `SIDECAR_STATE_DIR` is `--state-dir`. "
    "An option on the command line wins."
)

_PANELS_OF: Final = {name: (place, panel) for place, (panel, names) in enumerate(PANELS.items()) for name in names}
_LAST: Final = (len(PANELS), None)


def arrange(command: Any) -> None:
    """Put the options of a command into groups if there are many.

    Their environment variables are then named once, at the end, if every option has the one that its name says.
    """
    options = [param for param in command.params if isinstance(param, TyperOption)]
    if len(options) < MANY:
        return
    for option in options:
        option.rich_help_panel = _panel(option)[1]
    command.params.sort(key=_panel)
    if all(_names_variable(option) for option in options):
        for option in options:
            option.show_envvar = False
        command.epilog = VARIABLES


def _panel(param: Any) -> tuple[int, str | None]:
    return _PANELS_OF.get(param.name, _LAST)


def _names_variable(option: TyperOption) -> bool:
    """True for an option that the variable of its name sets too, be it one that we read ourselves."""
    variable = f"SIDECAR_{(option.name or '').upper()}"
    named = (option.envvar,) if isinstance(option.envvar, str) else tuple(option.envvar or ())
    return variable in named or variable in (option.help or "")
