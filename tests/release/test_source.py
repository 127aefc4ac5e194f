"""A release is built from one commit and nothing else, under a version that CHANGELOG.md and the tags agree on."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.release.refused import Refused
from deploy.release.source import entry, source_of
from tests.release.small import checkout, commit, git


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return checkout(tmp_path / "checkout")


def refusal(root: Path) -> str:
    """Why nothing is released."""
    with pytest.raises(Refused) as caught:
        source_of(root)
    return str(caught.value)


def test_a_clean_checkout_is_released_under_its_version(root: Path) -> None:
    found = source_of(root)
    assert (found.version, found.commit, found.tag) == ("0.2.0", git(root, "rev-parse", "HEAD"), "v0.2.0")
    assert found.seconds == int(git(root, "log", "-1", "--format=%ct"))


def test_what_is_changed_and_not_committed_is_named(root: Path) -> None:
    (root / "CHANGELOG.md").write_text("## 0.2.0 - 2026-12-01\n")
    assert refusal(root).startswith("CHANGELOG.md is not committed")


def test_a_file_that_git_does_not_know_is_named(root: Path) -> None:
    (root / "eve.py").touch()
    (root / "eve2.py").touch()
    assert refusal(root).startswith("eve.py and 1 more is not committed")


def test_a_file_that_git_does_not_know_is_named_whatever_git_is_told_to_show(root: Path) -> None:
    git(root, "config", "status.showUntrackedFiles", "no")
    (root / "eve.py").touch()
    assert refusal(root).startswith("eve.py is not committed")


def test_it_is_this_checkout_whatever_the_environment_shows_git(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = checkout(tmp_path / "other", changelog="## 0.2.0 - 2026-01-01\n")
    own = git(root, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert source_of(root).commit == own


def test_what_git_is_told_to_ignore_is_in_nobodys_way(root: Path) -> None:
    (root / ".gitignore").write_text("dist/\n")
    commit(root)
    (root / "dist").mkdir()
    (root / "dist" / "old.whl").touch()
    assert source_of(root).version == "0.2.0"


def test_a_version_without_an_entry_in_the_changelog_is_not_released(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout", version="0.3.0")
    assert refusal(root) == "CHANGELOG.md has no entry for 0.3.0: write one below `## 0.3.0 - YYYY-MM-DD`"


@pytest.mark.parametrize("changelog", ["## 0.2.0\n", "## 0x2.0 - 2026-12-01\n", "### 0.2.0 - 2026-12-01\n", "0.2.0\n"])
def test_what_only_looks_like_an_entry_is_none(tmp_path: Path, changelog: str) -> None:
    assert "has no entry for 0.2.0" in refusal(checkout(tmp_path / "checkout", changelog=changelog))


def test_an_entry_says_when_it_was_released(root: Path) -> None:
    assert entry(root, "0.2.0") == "2026-11-30"


@pytest.mark.parametrize("version", ["0.2", "0.2.0+local", "0.2.0/x", "latest"])
def test_a_version_that_no_release_can_have_is_named(tmp_path: Path, version: str) -> None:
    root = checkout(tmp_path / "checkout", version=version, changelog=f"## {version} - 2026-12-01\n")
    assert refusal(root) == f"pyproject.toml has version '{version}': write one such as 1.2.3 or 1.2.3rc1"


def test_the_tag_of_the_version_on_this_commit_is_right(root: Path) -> None:
    git(root, "tag", "v0.2.0")
    git(root, "tag", "nightly")
    assert source_of(root).tag == "v0.2.0"


def test_a_tag_of_another_version_on_this_commit_is_named(root: Path) -> None:
    git(root, "tag", "v0.2.1")
    assert refusal(root).startswith("the commit has the tag v0.2.1, and pyproject.toml has version 0.2.0")


def test_the_tag_of_the_version_on_another_commit_is_named(root: Path) -> None:
    git(root, "tag", "v0.2.0")
    commit(root)
    assert refusal(root).startswith("the tag v0.2.0 is on another commit")


def test_a_folder_that_is_no_checkout_is_refused(tmp_path: Path) -> None:
    assert "not a git repository" in refusal(tmp_path)
