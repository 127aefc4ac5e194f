"""docs/observability.md: the commands that it begins with, run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT
from tests.support.document_commands import command_blocks, run_commands
from tests.support.ports import free_port

pytestmark = pytest.mark.observability

TEXT: Final = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")


def test_a_denial_is_seen_and_found_again_by_its_id(tmp_path: Path) -> None:
    watch, find = command_blocks(TEXT)[:2]
    lines = run_commands(f"{watch}{find}".replace("9464", str(free_port())), tmp_path)
    (said,) = re.findall(r"^# (.*)$", find, re.M)
    assert said in lines
    (counted,) = [line for line in lines if line.startswith("mcp_policy_decisions_total")]
    assert 'rule="never"' in counted
    assert 'tool="pay"' in counted
    assert [line for line in lines if line.split() == ["1", "pay", "never", "policy.yaml:1"]]
    assert [line for line in lines if "call_denied" in line]
