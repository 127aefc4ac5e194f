"""Where things are in a checkout, for programs that need no tests: its folder, and the commands beside the interpreter.

Checks nothing on import, so that whoever misses something says so in words of its own.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
SIDECAR: Final = Path(sys.executable).with_name("sidecar")
MCP_OKX: Final = Path(sys.executable).with_name("mcp-okx")
