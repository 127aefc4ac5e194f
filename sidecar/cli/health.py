"""`sidecar health`: tells whether a running sidecar is ready, for `exec` probes and for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidecar import probe
from sidecar.errors import UsageError


def health_command(
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            show_default=False,
            help="What to ask: http://HOST:PORT or unix:PATH. [env var: SIDECAR_URL] "
            "[default: SIDECAR_TELEMETRY, else every sidecar of the state folder]",
        ),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="Only sidecars in front of this server. [env var: SIDECAR_SERVER]"
        ),
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="The state folder of the sidecars to ask. [env var: SIDECAR_STATE_DIR] "
            "[default: $XDG_STATE_HOME/intercept-sidecar]",
        ),
    ] = None,
) -> int:
    """Exit with 0 when a running sidecar is ready, or all of several, else with 1 and say why."""
    if server is not None and url is not None:
        raise UsageError("--server and --url name two sidecars: give one of them")
    return probe.main(url, server, str(state_dir) if state_dir is not None else None)
