"""The recorded conformance cases come to the same decisions in a rehearsal as through a running sidecar.

What needs a server or a connection (lists, lines as they stand, a server that fails) is left out; all else is given to
the reader of cases as it stands.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.mcp import strict_json
from tests.rehearsal.running import run

FILES = sorted((Path(__file__).parent.parent / "conformance" / "cases").glob("*.yaml"))
NEEDS_A_SERVER = ("list_tools", "raw", "restart")


def steps_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    """The steps that a rehearsal can take; none where the server's answers matter."""
    if '"stub":' in json.dumps(case["steps"]):
        return []
    steps = [step for step in case["steps"] if not any(key in step for key in NEEDS_A_SERVER)]
    for step in steps:
        step["client"] = {"name": "peer", "version": "1"}  # as what drives the sidecar says of itself
        if "arguments" in step:  # PyYAML has changed 1.10 to 1.1 by now
            step["arguments_json"] = json.dumps(step.pop("arguments") or {}, ensure_ascii=False)
    return [step for step in steps if "expect" in step]


def can_be_carried(step: dict[str, Any]) -> bool:
    """False for arguments that no call can carry, which a file of cases refuses itself."""
    try:
        return type(strict_json.read_value(step.get("arguments_json", "{}").encode())[0]) is dict
    except strict_json.NotStrict:
        return False


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_rehearsal_decides_as_a_running_sidecar(path: Path) -> None:
    for case in yaml.safe_load(path.read_text()):
        steps = list(filter(can_be_carried, steps_of(case)))
        if steps:
            text = json.dumps([{"name": case["name"], "steps": steps}], ensure_ascii=False)
            (result,) = run(case["policy"], text)
            assert not result.failed, [(step.wrong, step.step, step.judgement) for step in result.steps if step.wrong]
