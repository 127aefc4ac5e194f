"""A package that holds anything but the files of its commit is not released, however clean git calls the tree."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.release import contents
from deploy.release.refused import Refused
from deploy.release.source import source_of
from tests.release.small import SDIST, WHEEL, checkout, commit, git

TOP = "intercept_sidecar-0.2.0"
SOURCES = {
    "sidecar/a.py": "a",
    "rego/b.rego": "b",
    "policies/c.yaml": "c",
    "docs/policy.schema.json": "d",
    "LICENSE": "e",
}
IN_WHEEL = {
    "sidecar/a.py": "a", "sidecar/_rego/b.rego": "b", "sidecar/_policies/c.yaml": "c",
    "sidecar/_schema/policy.schema.json": "d", f"{TOP}.dist-info/licenses/LICENSE": "e", "sidecar/bin/opa": "built",
    f"{TOP}.dist-info/METADATA": "made",
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path) -> Path:
    found = checkout(tmp_path / "checkout")
    for path, text in SOURCES.items():
        (found / path).parent.mkdir(exist_ok=True)
        (found / path).write_text(text)
    commit(found)
    return found


def sdist(folder: Path, files: dict[str, str]) -> Path:
    with tarfile.open(folder / SDIST, "w:gz") as tar:
        for path, text in files.items():
            info = tarfile.TarInfo(f"{TOP}/{path}")
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return folder / SDIST


def wheel(folder: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(folder / WHEEL, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return folder / WHEEL


def packed(root: Path) -> dict[str, str]:
    """What an sdist holds that is made from the tree, whatever git says of it."""
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts]
    return {str(path.relative_to(root)): path.read_text() for path in files} | {"PKG-INFO": "made"}


def refusal(root: Path, package: Path) -> str:
    with pytest.raises(Refused) as caught:
        contents.check(root, source_of(root), [package])
    return str(caught.value)


def test_the_files_of_the_commit_are_released(root: Path, tmp_path: Path) -> None:
    contents.check(root, source_of(root), [sdist(tmp_path, packed(root)), wheel(tmp_path, IN_WHEEL)])


def test_a_key_that_git_is_told_to_overlook_is_not_released(root: Path, tmp_path: Path) -> None:
    (root / ".git" / "info" / "exclude").write_text("release.key\n")
    (root / "release.key").write_text("secret")
    assert "holds release.key, and the commit does not" in refusal(root, sdist(tmp_path, packed(root)))


@pytest.mark.parametrize("bit", ["--skip-worktree", "--assume-unchanged"])
def test_a_change_that_git_is_told_to_overlook_is_not_released(root: Path, tmp_path: Path, bit: str) -> None:
    git(root, "update-index", bit, "sidecar/a.py")
    (root / "sidecar" / "a.py").write_text("evil")
    assert "holds another sidecar/a.py than the commit" in refusal(root, sdist(tmp_path, packed(root)))
    assert "holds another sidecar/a.py" in refusal(root, wheel(tmp_path, IN_WHEEL | {"sidecar/a.py": "evil"}))


@pytest.mark.parametrize("path", ["sidecar/eve.py", "sidecar/_policies/eve.yaml", "eve.pth", f"{TOP}.data/scripts/eve"])
def test_a_file_that_only_the_wheel_has_is_not_released(root: Path, tmp_path: Path, path: str) -> None:
    assert "eve" in refusal(root, wheel(tmp_path, IN_WHEEL | {path: ""}))


def test_a_wheel_without_a_file_of_the_commit_is_not_released(root: Path, tmp_path: Path) -> None:
    left = {path: text for path, text in IN_WHEEL.items() if path != "sidecar/_rego/b.rego"}
    assert "does not hold rego/b.rego" in refusal(root, wheel(tmp_path, left))


def test_a_link_in_an_sdist_is_not_released(root: Path, tmp_path: Path) -> None:
    package = sdist(tmp_path, packed(root))
    with tarfile.open(package, "w:gz") as tar:
        link = tarfile.TarInfo(f"{TOP}/LICENSE")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    assert "which is no file of the commit" in refusal(root, package)
