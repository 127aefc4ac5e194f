"""The commit that a bundle names is one that has what was read, and to find it runs nothing that a repository names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.repository.commit import Commit, commit_of
from sidecar.repository.subject import subject
from tests.repository.made import POLICY, REGO, git, repository
from tests.support import OPA

OTHER = POLICY.replace("100", "1000")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return repository(tmp_path / "policy")


def committed(folder: Path, *options: str) -> str:
    git(folder, "init", "-q", *options)
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return git(folder, "rev-parse", "HEAD")


def named(path: Path) -> Commit:
    return commit_of(subject(path, OPA))


def test_there_is_no_commit_where_git_knows_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(folder) == Commit()
    git(folder, "init", "-q")
    assert str(named(folder)) == ""
    committed(folder)
    read = subject(folder, OPA)
    monkeypatch.setenv("PATH", str(folder))
    assert commit_of(read) == Commit()


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_commit_is_named_though_other_files_differ_from_it(folder: Path, form: str) -> None:
    head = committed(folder, f"--object-format={form}")
    assert len(head) == {"sha1": 40, "sha256": 64}[form]
    for other in ("README.md", "p.tar.gz", "tests.yaml", "policies/notes.md", "rego/custom/sevens_test.rego"):
        (folder / other).write_text("something else")
    assert named(folder) == Commit(head)
    assert str(named(folder)) == head


@pytest.mark.parametrize("form", ["sha1", "sha256"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("policies/pay.yaml", OTHER), ("policies/new.yaml", "hide: [x]\n"), ("policies/x.ignored.yaml", "hide: [x]\n"),
        ("rego/custom/sevens.rego", REGO.replace("7", "8")), ("rego/custom/more/data.json", '{"list": [2]}'),
        ("rego/custom/data.json", "{}"),
    ],
)  # fmt: skip
def test_a_commit_is_marked_where_what_is_built_is_not_what_it_has(
    folder: Path, file: str, text: str, form: str
) -> None:
    (folder / ".gitignore").write_text("*.ignored.yaml\n")
    head = committed(folder, f"--object-format={form}")
    (folder / file).write_text(text)
    assert named(folder) == Commit(head, (file,))
    assert str(named(folder)) == f"{head}-dirty"


@pytest.mark.parametrize("hidden", ["--assume-unchanged", "--skip-worktree"])
def test_what_git_was_told_not_to_look_at_is_looked_at(folder: Path, hidden: str) -> None:
    head = committed(folder)
    git(folder, "update-index", hidden, "policies/pay.yaml")
    (folder / "policies" / "pay.yaml").write_text(OTHER)
    assert named(folder) == Commit(head, ("policies/pay.yaml",))


def test_a_file_that_is_gone_differs(folder: Path) -> None:
    (folder / "policies" / "more.yaml").write_text("hide: [x]\n")
    head = committed(folder)
    for file in ("policies/more.yaml", "rego/custom/more/data.json"):
        (folder / file).unlink()
    assert named(folder) == Commit(head, ("policies/more.yaml", "rego/custom/more/data.json"))


def test_what_was_read_counts_whatever_stands_there_later(folder: Path) -> None:
    head = committed(folder)
    read = subject(folder, OPA)
    (folder / "policies" / "pay.yaml").write_text(OTHER)
    assert commit_of(read) == Commit(head)


def test_of_a_single_policy_only_that_file_counts(folder: Path) -> None:
    head = committed(folder)
    (folder / "policies" / "other.yaml").write_text("hide: [x]\n")
    assert named(folder / "policies" / "pay.yaml") == Commit(head)
    (folder / "policies" / "pay.yaml").write_text(OTHER)
    assert named(folder / "policies" / "pay.yaml") == Commit(head, ("pay.yaml",))


def test_a_repository_below_that_of_git_is_found_in_its_commit(tmp_path: Path, folder: Path) -> None:
    head = committed(tmp_path)
    assert named(folder) == Commit(head)
    (folder / "policies" / "pay.yaml").write_text(OTHER)
    assert named(folder) == Commit(head, ("policies/pay.yaml",))


def test_another_repository_that_a_hook_names_is_not_asked(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "-q")
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert named(folder) == Commit()


def test_a_file_that_git_converts_is_not_as_the_commit_has_it(folder: Path) -> None:
    head = committed(folder)
    git(folder, "config", "core.autocrlf", "true")
    for file in ("policies/pay.yaml", "rego/custom/sevens.rego"):
        (folder / file).write_bytes((folder / file).read_bytes().replace(b"\n", b"\r\n"))
    git(folder, "add", ".")
    assert git(folder, "diff", "--cached", "--name-only") == "", "git takes them for the same"
    assert named(folder) == Commit(head, ("policies/pay.yaml", "rego/custom/sevens.rego"))


def test_a_link_of_the_commit_is_not_the_file_that_holds_its_target(folder: Path) -> None:
    policy = folder / "policies" / "link.yaml"
    policy.symlink_to("hide: [x]")
    head = committed(folder)
    policy.unlink()
    policy.write_text("hide: [x]")
    assert named(folder) == Commit(head, ("policies/link.yaml",))


def test_a_commit_has_its_own_files_though_git_was_told_to_put_another_in_its_place(folder: Path) -> None:
    head = committed(folder)
    (folder / "policies" / "pay.yaml").write_text(OTHER)
    git(folder, "commit", "-qam", "second")
    other = git(folder, "rev-parse", "HEAD")
    git(folder, "reset", "-q", "--soft", head)
    git(folder, "replace", head, other)
    assert named(folder) == Commit(head, ("policies/pay.yaml",))


# What a repository names is not run.


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that must not be run: it leaves a file `ran` beside itself."""
    program = tmp_path / "evil" / "program"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {program.parent}/ran\ncat\n")
    program.chmod(0o755)
    return program


def ran(program: Path) -> bool:
    return (program.parent / "ran").exists()


def with_filter(folder: Path, program: Path) -> None:
    (folder / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    git(folder, "config", "filter.evil.clean", str(program))
    git(folder, "config", "filter.evil.smudge", str(program))


def with_process(folder: Path, program: Path) -> None:
    (folder / ".git" / "info" / "attributes").write_text("* filter=evil\n")
    git(folder, "config", "filter.evil.process", str(program))


def with_hooks(folder: Path, program: Path) -> None:
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        (folder / ".git" / "hooks" / hook).write_bytes(program.read_bytes())
        (folder / ".git" / "hooks" / hook).chmod(0o755)


def with_monitor(folder: Path, program: Path) -> None:
    git(folder, "config", "core.fsmonitor", str(program))


def with_programs_by_name(folder: Path, program: Path) -> None:
    names = ("core.pager", "pager.ls-tree", "pager.rev-parse", "core.editor", "gpg.program", "diff.external")
    for name in (*names, "core.sshCommand", "core.alternateRefsCommand", "alias.ls-tree", "alias.rev-parse"):
        git(folder, "config", name, f"!{program}" if name.startswith("alias.") else str(program))


def with_missing_trees(folder: Path, program: Path) -> None:
    """The trees of the commit are to be fetched, by a program."""
    git(folder, "config", "remote.evil.promisor", "true")
    git(folder, "config", "extensions.partialClone", "evil")
    git(folder, "config", "core.repositoryFormatVersion", "1")
    git(folder, "config", "remote.evil.url", str(folder))
    git(folder, "config", "remote.evil.uploadpack", str(program))
    git(folder, "config", "protocol.allow", "always")
    tree = git(folder, "rev-parse", "HEAD:policies")
    (folder / ".git" / "objects" / tree[:2] / tree[2:]).unlink()


@pytest.mark.parametrize(
    "planted",
    [with_filter, with_process, with_hooks, with_monitor, with_programs_by_name, with_missing_trees],
    ids=lambda planted: planted.__name__,
)
def test_no_program_that_the_repository_names_is_run(
    folder: Path, program: Path, planted: Callable[[Path, Path], None]
) -> None:
    head = committed(folder)
    planted(folder, program)
    (folder / "policies" / "pay.yaml").write_text(POLICY)  # its time is not what the index says
    found = named(folder)
    assert not ran(program)
    assert found.name == head
    assert bool(found.differing) is (planted is with_missing_trees)
