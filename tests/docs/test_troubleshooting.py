"""docs/troubleshooting.md: each message that it explains is one that the sidecar says, and is explained once."""

from __future__ import annotations

import re
from typing import Final

import pytest

from tests.docs.messages import is_said
from tests.support import ROOT

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
