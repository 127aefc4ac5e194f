"""Every example in docs/policy.md is right: a whole file, tools of one, or a single condition."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sidecar.policy import nodes
from sidecar.repository.load import find, load
from tests.support import OPA, ROOT

TEXT = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
BLOCKS = [block for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.S | re.M) if not block.startswith("# ")]
CONDITIONS = re.findall(r"`(\{path: [^`\n]* op: [^`\n]*\})`", TEXT)
PARTS = {"approvals", "classes", "default", "methods", "tools"}
"""Keys of a file with which an example begins that is no tool of one."""


def whole(block: str) -> str:
    """The file that an example stands for: itself, or one that has it as its tools."""
    root, _ = nodes.parse(block, "example.yaml")
    assert isinstance(root, nodes.Mapping)
    return block if PARTS & set(root.members) else "tools:\n" + re.sub(r"^", "  ", block, flags=re.M)


@pytest.mark.parametrize("block", BLOCKS)
def test_an_example_is_a_policy(block: str, tmp_path: Path) -> None:
    validate(whole(block), tmp_path)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_condition_that_is_shown_is_one(condition: str, tmp_path: Path) -> None:
    validate(f"tools:\n  tool:\n    rules:\n      - conditions:\n          - {condition}\n", tmp_path)


def test_examples_are_found() -> None:
    assert len(BLOCKS) > 5
    assert len(CONDITIONS) > 2


def validate(policy: str, folder: Path) -> None:
    """Raises `PolicyError`, which says what is wrong."""
    file = folder / "policy.yaml"
    file.write_text(policy, encoding="utf-8")
    load(find([file]), lambda: OPA)
