"""`sidecar version`: ours, OPA's, and the protocol revisions that pass."""

from __future__ import annotations

from sidecar import __version__
from sidecar.cli.options import OpaBin
from sidecar.engine import binary
from sidecar.errors import StartError
from sidecar.mcp.protocol import REVISIONS


def version_command(opa_bin: OpaBin = None) -> int:
    """Print the versions of the sidecar, of OPA, and of the protocol."""
    print(f"sidecar {__version__}")
    try:
        path = binary.find(opa_bin)
        print(f"opa {binary.version_of(path)} ({path})")
    except StartError as error:
        print(f"opa: {error}")
    print(f"MCP {', '.join(REVISIONS)}")
    return 0
