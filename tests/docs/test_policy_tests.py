"""The format of tests in docs/policy-tests.md is the one that is read, with every key of it."""

from __future__ import annotations

import re

from sidecar.rehearsal import cases
from sidecar.rehearsal.cases import read_cases
from tests.support import ROOT

TEXT = (ROOT / "docs" / "policy-tests.md").read_text(encoding="utf-8")


def test_the_example_is_read() -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
    (case,), problems = read_cases(block, "example.yaml")
    assert problems == []
    assert len(case.steps) == 2


def test_every_key_of_a_step_is_described_and_no_other() -> None:
    described = {
        name for row in re.findall(r"^\| (`.*?) \|", TEXT, flags=re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert described | {"code"} == set(cases.STEP_KEYS)
    assert "`code`" in TEXT
    assert all(f"`{word}`" in TEXT for word in cases.EXPECTED)
