"""What readers of a document have on their machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.node import NODE, package


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with a `uvx` and an `npx` that start what tests have installed: nothing is fetched."""
    folder = tmp_path / "programs"
    folder.mkdir()
    inspector = package("@modelcontextprotocol/inspector", "clients/launcher/build/index.js")
    for name, does in {
        "uvx": 'exec "$@"',
        "npx": f'test "$2" = @modelcontextprotocol/inspector@latest && shift 2 && exec {NODE} {inspector} "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{does}\n")
        (folder / name).chmod(0o755)
    return folder
