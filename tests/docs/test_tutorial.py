"""docs/tutorial.md: each command, run in its order as it stands there, does and prints what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.walk import Walk
from tests.support import ROOT
from tests.support.peer import PATIENT
from tests.support.ports import free_port

TEXT = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.timeout(420)
def test_the_tutorial_goes_as_it_says(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "reader").mkdir()
    serving, telemetry = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    exchanged = [("127.0.0.1:8080", serving), ("127.0.0.1:9464", telemetry)]
    options = {
        "SIDECAR_PORT": serving.rpartition(":")[2], "SIDECAR_TELEMETRY": telemetry,
        "SIDECAR_OPA_TIMEOUT": PATIENT[1],
    }  # fmt: skip
    with Walk(tmp_path / "reader", programs, exchanged, options) as reader:
        reader.go(TEXT)
    assert list((tmp_path / "reader").iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("```sh\nfalse\n```\n", "ended with 1"),
        ("```sh\necho yes  # ends with 1\n```\n", "ended with 0"),
        ("```sh\necho yes\n```\n```text\nno\n```\n", "not seen"),
        ("```sh\necho yes; echo more\n```\n```text\nyes\n```\n", "not seen"),
    ],
)
def test_what_is_not_as_a_page_says_is_noticed(
    wrong: str, said: str, tmp_path: Path, programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.docs.walk.SECONDS", 0.1)
    (tmp_path / "reader").mkdir()
    with Walk(tmp_path / "reader", programs) as reader, pytest.raises(AssertionError, match=said):
        reader.go(wrong)


def test_a_reader_keeps_what_was_set_and_where_it_went(tmp_path: Path, programs: Path) -> None:
    (tmp_path / "reader").mkdir()
    with Walk(tmp_path / "reader", programs) as reader:
        reader.go("```sh\nmkdir a\ncd a\nID='x y'\n```\n```sh\npwd; echo $ID\n```\n```text\n…/reader/a\nx y\n```\n")
