"""The options about a bundle: no key is lost on the way."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.support import SIDECAR


def test_a_variable_for_keys_that_names_none_is_refused(tmp_path: Path) -> None:
    """As from a template whose value is missing: whoever wrote it wants signatures."""
    ran = subprocess.run(
        [SIDECAR, "run", "--bundle", tmp_path, "--state-dir", tmp_path / "state", "--", "true"],
        env={**os.environ, "SIDECAR_BUNDLE_KEY": ""}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "SIDECAR_BUNDLE_KEY names no key" in ran.stderr
