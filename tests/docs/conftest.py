"""What readers of a document have on their machine."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def uvx(tmp_path: Path) -> Path:
    """A folder with a `uvx` that starts programs of this environment: nothing is fetched."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "uvx").write_text('#!/bin/sh\nexec "$@"\n')
    (folder / "uvx").chmod(0o755)
    return folder
