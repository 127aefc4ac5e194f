"""`sidecar version`: ours, OPA's, and the protocol revisions that pass. `sidecar --version` prints ours alone."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from sidecar import __version__
from sidecar.cli.options import OpaBin
from sidecar.cli.printing import say


def _print_ours(asked: bool) -> None:
    if asked:
        say(f"sidecar {__version__}")
        raise typer.Exit


Version: TypeAlias = Annotated[
    bool,
    typer.Option("--version", "-v", is_eager=True, callback=_print_ours, help="Print the version, and nothing else."),
]


def version_command(opa_bin: OpaBin = None) -> int:
    """Print the versions of the sidecar, of OPA, and of the protocol."""
    # Only here: the option of every command line needs none of it.
    from sidecar.engine import binary  # noqa: PLC0415
    from sidecar.errors import StartError  # noqa: PLC0415
    from sidecar.mcp.protocol import REVISIONS  # noqa: PLC0415

    say(f"sidecar {__version__}")
    try:
        path = binary.find(opa_bin)
        say(f"opa {binary.version_of(path)} ({path})")
    except StartError as error:
        say(f"opa: {error}")
    say(f"MCP {', '.join(REVISIONS)}")
    return 0
