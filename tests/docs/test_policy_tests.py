"""The format of tests in docs/policy-tests.md is the one that is read, with every key of it."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from sidecar.rehearsal import cases
from sidecar.rehearsal.cases import read_cases
from tests.support import OPA, ROOT, SIDECAR

TEXT = (ROOT / "docs" / "policy-tests.md").read_text(encoding="utf-8")
POLICY, FIRST, FORMAT = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)


def test_the_first_test_is_run_as_the_document_shows(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    (tmp_path / "tests.yaml").write_text(FIRST, encoding="utf-8")
    ((command, shown),) = re.findall(r"^```\n\$ sidecar (.*?)\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
    environment = {**os.environ, "SIDECAR_OPA_BIN": str(OPA)}
    done = subprocess.run(
        [SIDECAR, *command.split()], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == (shown, 0), done.stderr


def test_the_example_of_the_format_is_read() -> None:
    (case,), problems = read_cases(FORMAT, "example.yaml")
    assert problems == []
    assert len(case.steps) == 2


def test_every_key_of_a_step_is_described_and_no_other() -> None:
    described = {
        name for row in re.findall(r"^\| (`.*?) \|", TEXT, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert described | {"code"} == set(cases.STEP_KEYS)
    assert "`code`" in TEXT
    assert all(f"`{word}`" in TEXT for word in cases.EXPECTED)
