"""docs/glossary.md and docs/faq.md: words in order and once; the policies that are shown are valid and decide so."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.support import ROOT, SIDECAR
from tests.support.peer import Sidecar, denied, until

GLOSSARY: Final = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
FAQ: Final = (ROOT / "docs" / "faq.md").read_text(encoding="utf-8")
WORDS: Final = [word for word in re.findall(r"^\| ([^|]+?) \|", GLOSSARY, re.M) if word != "word"]
ELSEWHERE: Final = [
    path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").glob("*.md"))
    if path.stem not in ("glossary", "architecture", "decisions", "performance")
]
"""The other pages, but those for maintainers."""
POLICIES: Final = re.findall(r"^```yaml\n(.*?)^```", FAQ, re.S | re.M)
NEVER, LISTED, METHODS, STOP = POLICIES


def explained(policy: str, folder: Path, *words: str) -> int:
    """The exit status of `explain`: 0 for allow, 3 for deny."""
    (folder / "policy.yaml").write_text(policy)
    command = [str(SIDECAR), "explain", "-c", str(folder / "policy.yaml"), *words]
    return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode


def test_the_words_stand_in_order_and_once() -> None:
    assert len(WORDS) > 40
    assert sorted(set(WORDS), key=str.lower) == WORDS


@pytest.mark.parametrize("word", WORDS)
def test_a_word_is_one_of_a_page_for_users(word: str) -> None:
    """Else nobody looks it up. Each part of `fail closed` counts by itself."""
    parts = [re.compile(rf"\b{part}(s|es|ed)?\b", re.I) for part in word.split()]
    assert any(all(part.search(text) for part in parts) for text in ELSEWHERE)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_that_is_shown_is_valid(policy: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(policy)
    done = subprocess.run(
        [SIDECAR, "validate", "-c", tmp_path / "policy.yaml"], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("policy", "tool", "status"),
    [
        (NEVER, "delete_repository", 3), (NEVER, "other", 0),
        (LISTED, "list_issues", 0), (LISTED, "create_issue", 0), (LISTED, "delete_repository", 3),
        (STOP, "list_issues", 3),
    ],
)  # fmt: skip
def test_a_policy_decides_as_its_answer_says(policy: str, tool: str, status: int, tmp_path: Path) -> None:
    assert explained(policy, tmp_path, tool) == status


def test_the_policy_that_stops_everything_does_so_while_the_sidecar_runs(tmp_path: Path) -> None:
    with Sidecar(tmp_path, NEVER) as sidecar:
        sidecar.initialize()
        assert denied(sidecar.call("list_issues")) is None
        (tmp_path / "new.yaml").write_text(STOP)
        (tmp_path / "new.yaml").replace(tmp_path / "policy.yaml")
        until(lambda: denied(sidecar.call("list_issues")) == 'Tool "list_issues" is not permitted by policy')
