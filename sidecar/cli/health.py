"""`sidecar health`: tells whether a running sidecar is ready, for `exec` probes and for people."""

from __future__ import annotations

from typing import Annotated

import typer

from sidecar import probe


def health_command(
    url: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_URL",
            show_default=False,
            help=f"What to ask. [default: /readyz at SIDECAR_TELEMETRY, else at {probe.DEFAULT}]",
        ),
    ] = None,
) -> int:
    """Exit with 0 when a running sidecar is ready, else with 1 and say why."""
    return probe.main(url)
