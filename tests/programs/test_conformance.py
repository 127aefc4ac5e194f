"""The official conformance suite comes to the same verdicts through the sidecar as without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT

SCORE = "253 passed 25 failed"
"""Of both sets of requirements; the 25 are the extension for tasks, which the server does not have."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_check_of_the_official_suite_has_the_same_verdict_through_the_sidecar() -> None:
    command = [sys.executable, "-m", "programs.conformance"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    assert done.stdout.splitlines()[-1] == f"direct {SCORE}; through the sidecar {SCORE}"
