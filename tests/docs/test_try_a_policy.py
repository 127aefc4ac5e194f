"""The lines by hand of docs/try-a-policy.md are replayed."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support import OPA, ROOT, SIDECAR

TEXT = (ROOT / "docs" / "try-a-policy.md").read_text(encoding="utf-8")


def test_lines_by_hand_are_replayed_as_a_recording_is(tmp_path: Path) -> None:
    (lines,) = re.findall(r"^```json\n(.*?)^```$", TEXT, re.M | re.S)
    (command,) = re.findall(r"^sidecar (policy replay .*)$", TEXT, re.M)
    (tmp_path / "calls.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "changed.yaml").write_text("default: allow\n", encoding="utf-8")
    done = subprocess.run(
        [SIDECAR, *command.split()], cwd=tmp_path, env={**os.environ, "SIDECAR_OPA_BIN": str(OPA)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert done.stdout == (
        "1 call would pass that did not:\n"
        '  create_payment: refused, now allowed: 1 call, the first at calls.jsonl:1 with {"amount":700}\n'
        "1 call unchanged\n"
    )
