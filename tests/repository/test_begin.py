"""A repository is written where nothing is, and nowhere else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.errors import StartError, UsageError
from sidecar.policy import nodes
from sidecar.repository.begin import begin
from tests.support import OPA

EXPECTED = {
    ".github/workflows/policy.yml", ".gitignore", ".gitlab-ci.yml", ".pre-commit-config.yaml", "README.md",
    "ci/compare", "ci/install", "policies/policy.yaml", "rego/custom/orders.rego", "rego/custom/orders_test.rego",
    "tests/policy.yaml", "tools.json",
}  # fmt: skip


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "policy"
    assert set(begin(folder)) == EXPECTED
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == EXPECTED


def test_a_folder_that_is_empty_is_filled(tmp_path: Path) -> None:
    assert set(begin(tmp_path)) == EXPECTED
    assert all(os.access(tmp_path / "ci" / program, os.X_OK) for program in ("compare", "install"))
    assert not os.access(tmp_path / "README.md", os.X_OK)


def test_it_says_with_which_version_it_was_begun(tmp_path: Path) -> None:
    begin(tmp_path)
    texts = {path.name: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert not [name for name, text in texts.items() if "@VERSION@" in text]
    named = [name for name, text in texts.items() if f"begun with version {__version__}." in text]
    assert sorted(named) == ["README.md", "install"]


@pytest.mark.parametrize("there", ["README.md", ".git/config", "notes/mine.txt"])
def test_a_folder_with_anything_in_it_is_left_as_it_is(tmp_path: Path, there: str) -> None:
    (tmp_path / there).parent.mkdir(exist_ok=True)
    (tmp_path / there).write_text("mine")
    with pytest.raises(UsageError, match="is not empty: name a folder that is missing or empty"):
        begin(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()] == [there]
    assert (tmp_path / there).read_text() == "mine"


def test_a_file_and_a_dangling_link_are_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="is no folder"):
            begin(tmp_path / name)


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartError, match=f"cannot write {tmp_path}/file/new.*; name another folder"):
        begin(tmp_path / "file" / "new")


def test_its_files_are_in_the_form_that_tools_expect(tmp_path: Path) -> None:
    begin(tmp_path)
    subprocess.run([OPA, "fmt", "--fail", "--diff", tmp_path / "rego"], check=True, timeout=60)
    for program in (tmp_path / "ci").iterdir():
        subprocess.run(["sh", "-n", program], check=True, timeout=60)
    for path in (*tmp_path.rglob("*.yaml"), *tmp_path.rglob("*.yml")):
        assert nodes.parse(path.read_text(), path.name)[1] == []
