"""The example of docs/policy-diff.md: the change that it names is shown as the document shows it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.support import OPA, ROOT, SIDECAR

TEXT = (ROOT / "docs" / "policy-diff.md").read_text(encoding="utf-8")


def test_the_change_of_the_example_is_shown_as_the_document_says(tmp_path: Path) -> None:
    (policy,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    ((command, shown),) = re.findall(r"^```\n\$ sidecar (.*?)\n(.*?)^```$", TEXT, re.M | re.S)
    ((new, old),) = re.findall(r"has `(\d+)` in the place of `(\d+)`", TEXT)
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
    (tmp_path / "changed.yaml").write_text(policy.replace(old, new), encoding="utf-8")
    done = subprocess.run(
        [SIDECAR, *command.split()], cwd=tmp_path, env={**os.environ, "SIDECAR_OPA_BIN": str(OPA)},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (shown, 4), done.stderr
