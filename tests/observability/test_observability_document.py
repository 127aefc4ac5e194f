"""docs/observability.md: the commands that it begins with, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import OPA, ROOT, SIDECAR
from tests.support.peer import SECONDS
from tests.support.ports import free_port

pytestmark = pytest.mark.observability

TEXT: Final = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def test_a_denial_is_seen_and_found_again_by_its_id(tmp_path: Path) -> None:
    watch, find = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.M | re.S)[:2]
    environment = {
        **os.environ, "PATH": f"{SIDECAR.parent}:{os.environ['PATH']}", "SIDECAR_OPA_BIN": str(OPA),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }  # fmt: skip
    script = f"{watch}{find}".replace("9464", str(free_port()))
    done = subprocess.run(
        ["bash", "-c", f"set -em\ntrap 'kill %1 2>/dev/null' EXIT\n{script}"], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=4 * SECONDS, check=True,
    )  # fmt: skip
    lines = done.stdout.splitlines()
    (said,) = re.findall(r"^# (.*)$", find, re.M)
    assert said in lines
    (counted,) = [line for line in lines if line.startswith("mcp_policy_decisions_total")]
    assert 'rule="never"' in counted
    assert 'tool="pay"' in counted
    assert [line for line in lines if line.split() == ["1", "pay", "never", "policy.yaml:1"]]
    assert [line for line in lines if "call_denied" in line]
