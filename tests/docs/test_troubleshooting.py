"""docs/troubleshooting.md: each message that it explains is one that the sidecar says, and is explained once."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.docs.messages import LEFT_OUT, is_said
from tests.support import ROOT, SIDECAR

TEXT: Final = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| ") and not line.startswith("| you see")
]
MESSAGES: Final = [cells[0] for cells in ROWS if re.fullmatch(r"`[^`]+`", cells[0])]
NOT_FORWARDED: Final = ". The call was not forwarded."
"""Follows what the engine's own error says."""


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_said(message: str) -> None:
    text = message.strip("`")
    engine, _, rest = text.partition(NOT_FORWARDED)
    if text.startswith("The policy engine"):
        assert not rest
        assert is_said(NOT_FORWARDED)
        text = engine[0].lower() + engine[1:]  # as the log and `/readyz` say it
    assert is_said(text)


FIRST_HOUR: Final = {
    "a wrong path": ["run", "-c", "nowhere.yaml", "--", "cat"],
    "no -- before the server": ["run", "-c", "policy.yaml", "uvx", "mcp-server-git", "--repository", "shop"],
    "no server": ["run", "-c", "policy.yaml"],
    "no -c": ["run", "policy.yaml", "--", "cat"],
    "no uvx": ["run", "-c", "policy.yaml", "--", "uvx", "mcp-server-git"],
    "no rule": ["explain", "-c", "policy.yaml", "git_rset"],
}


@pytest.mark.parametrize("words", FIRST_HOUR.values(), ids=FIRST_HOUR)
def test_what_is_said_of_a_mistake_of_the_first_hour_is_explained(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("tools: {git_reset: {rules: [{action: deny}]}}")
    environment = {"PATH": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    said = subprocess.run(
        [SIDECAR, *words], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        encoding="utf-8", check=False, timeout=60,
    )  # fmt: skip
    text = said.stdout + said.stderr
    quoted = [message for cells in ROWS for cell in cells for message in re.findall(r"`([^`]+)`", cell)]
    parts = [[part.strip() for part in one.split(LEFT_OUT) if len(part.strip()) > 12] for one in quoted]
    assert any(some and all(part in text for part in some) for some in parts), text


def test_a_sidecar_that_the_shell_does_not_find_is_explained(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    assert bash is not None
    said = subprocess.run(
        [bash, "-c", "sidecar"], env={"PATH": str(tmp_path)}, capture_output=True, encoding="utf-8", check=False,
        timeout=60,
    )  # fmt: skip
    assert said.stderr.strip().endswith("sidecar: command not found")
    assert "| `sidecar: command not found`," in TEXT


def test_every_message_is_explained_once_with_a_cause_and_something_to_do() -> None:
    assert len(MESSAGES) > 70
    assert len(set(MESSAGES)) == len(MESSAGES)
    assert [cells for cells in ROWS if len(cells) != 3 or not all(cells)] == []


def test_the_sections_are_those_of_its_contents() -> None:
    contents = re.findall(r"^- \[([^\]]+)\]\(#", TEXT, re.M)
    assert contents == re.findall(r"^## (.*)$", TEXT, re.M)


@pytest.mark.parametrize(
    "message", ["this is said nowhere at all", "… and …", "reached. Try again later. … Rate limit of"]
)
def test_a_message_that_is_not_said_is_noticed(message: str) -> None:
    assert not is_said(message)
