"""docs/http.md names every cause of a failure of the server and every reason of a refusal, and no other."""

from __future__ import annotations

import re

import pytest

from sidecar.events import HTTP_REFUSALS, UPSTREAM_ERRORS
from tests.support import ROOT


@pytest.mark.parametrize(
    ("heading", "words"),
    [("### When the server fails", UPSTREAM_ERRORS), ("## Requests that are refused", HTTP_REFUSALS)],
)
def test_every_word_is_explained(heading: str, words: tuple[str, ...]) -> None:
    section = (ROOT / "docs" / "http.md").read_text().split(f"\n{heading}\n")[1].split("\n#")[0]
    first_cells = re.findall(r"^\| (`[^|]*`) \|", section, re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(first_cells))) == sorted(words)
