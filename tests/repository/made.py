"""A policy repository with all that goes into a bundle, and some that does not; and git."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

POLICY: Final = """tools:
  pay:
    rules:
      - {name: small, conditions: [{path: args.amount, op: lte, value: 100}]}
"""
REGO: Final = """package intercept.custom

violations contains {"rule": "no sevens", "reason": "Sevens are bad luck"} if input.arguments.amount == 7
"""
REGO_TEST: Final = """package intercept.custom_test

test_sevens if data.intercept.custom.violations == set()
"""


def repository(folder: Path) -> Path:
    """A repository in a folder."""
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "pay.yaml").write_text(POLICY)
    (folder / "rego" / "custom" / "more").mkdir(parents=True)
    (folder / "rego" / "custom" / "sevens.rego").write_text(REGO)
    (folder / "rego" / "custom" / "sevens_test.rego").write_text(REGO_TEST)
    (folder / "rego" / "custom" / "more" / "data.json").write_text('{"list": [1]}')
    (folder / "README.md").write_text("what we may do")
    return folder


def git(folder: Path, *words: str) -> str:
    """What git says in a folder."""
    command = ["git", "-c", "user.name=n", "-c", "user.email=n@example", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
