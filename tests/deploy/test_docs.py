"""The documentation about Kubernetes: the commands that it begins with, and the files and names that it speaks of."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.support import ROOT
from tests.support.peer import SECONDS

TEXT = (ROOT / "docs" / "kubernetes.md").read_text()
COMMANDS = [line for line in TEXT.partition("```sh\n")[2].partition("```")[0].splitlines() if line]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_at_the_beginning_works(command: str) -> None:
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=8 * SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_file_that_is_named_is_there() -> None:
    named = {
        *re.findall(r"\]\((\.\./[^)]+)\)", TEXT),
        *(f"../{path}" for path in re.findall(r"deploy/[\w./-]+\w", TEXT)),
    }
    assert len(named) > 3
    assert [path for path in named if not (ROOT / "docs" / path).exists() and ".yaml" in path] == []
    assert all((ROOT / "deploy" / name).is_dir() for name in re.findall(r"`(overlays/[\w-]+)`", TEXT))
