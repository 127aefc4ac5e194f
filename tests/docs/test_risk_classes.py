"""The tables of docs/risk-classes.md say what the language and the policies say."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from sidecar.policy.model import CLASSES, SEVERITY_OF_CLASS
from sidecar.policy.read import read
from tests.support import ROOT, SIDECAR

TEXT: Final = (ROOT / "docs" / "risk-classes.md").read_text(encoding="utf-8")


def test_the_classes_stand_in_their_order_with_their_severities() -> None:
    rows = re.findall(r"^\| `([A-Z]\w+)` \| (\w+) \|", TEXT, flags=re.M)
    assert rows == [(risk, SEVERITY_OF_CLASS[risk]) for risk in CLASSES]


@pytest.mark.parametrize("policy", ["okx", "okx-trading"])
def test_each_tool_has_the_class_and_the_severity_that_the_policy_gives_it(policy: str) -> None:
    file, _ = read((ROOT / "policies" / f"{policy}.yaml").read_text(encoding="utf-8"), policy)
    given = {
        entry.tool: (entry.risk, entry.severity or SEVERITY_OF_CLASS[entry.risk])
        for entry in file.entries
        if entry.risk
    }
    rows = re.findall(r"^\| `([a-z_]+)` \| (\w+), (\w+) \|", TEXT, flags=re.M)
    assert {tool: (risk, severity) for tool, risk, severity in rows} == given


def test_the_first_policy_is_listed_as_the_document_shows(tmp_path: Path) -> None:
    (policy,) = re.findall(r"^```yaml\n(default: .*?)^```$", TEXT, flags=re.M | re.S)
    ((command, shown),) = re.findall(r"^\$ sidecar (.*)\n((?:.+\n)+?)```$", TEXT, flags=re.M)
    (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
    done = subprocess.run(
        [SIDECAR, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == (shown, 0), done.stderr
