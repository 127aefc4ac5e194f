"""Installing: what `make` sets up, what `pip install`, `uv tool install` and `uvx` give, and the OPA that is kept."""

from __future__ import annotations

import sys

from tests.support import ROOT

# Modules of the wheel's build, which belong to no package.
sys.path.append(str(ROOT / "deploy" / "wheel"))
