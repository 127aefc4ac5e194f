"""What `make` sets up: all of it in the project, the demo's part small, and gone after `make clean`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.install.places import copy_of_the_tree, empty_home
from tests.support import OPA, ROOT

MIB: Final = 1 << 20


def made(root: Path, env: dict[str, str], *words: str) -> None:
    """Run make in a checkout."""
    subprocess.run(
        ["make", f"PYTHON={sys.executable}", *words], cwd=root, env=env, check=True, capture_output=True, timeout=500
    )


def ignored(root: Path) -> list[str]:
    """What git knows as built, or not at all."""
    done = subprocess.run(
        ["git", "status", "--porcelain", "--ignored"], cwd=root, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def size(*places: Path) -> int:
    """What is in them, in bytes; a file with two names is there once."""
    found = [path.lstat() for place in places for path in place.rglob("*") if not path.is_dir()]
    return sum({(one.st_dev, one.st_ino): one.st_size for one in found}.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_is_set_up_in_the_project_alone_and_is_small(tmp_path: Path) -> None:
    root, env = copy_of_the_tree(tmp_path / "checkout"), empty_home(tmp_path / "home")
    made(root, env, ".venv-demo/.stamp")
    assert list((tmp_path / "home").iterdir()) == []
    assert size(root / ".venv-demo", root / ".tools") + OPA.stat().st_size < 250 * MIB
    programs = root / ".venv-demo" / "bin"
    done = subprocess.run([programs / "sidecar", "--help"], capture_output=True, text=True, timeout=60, check=True)
    assert "policy" in done.stdout
    assert (programs / "mcp-okx").is_file()
    for name in ("pytest", "mypy", "node"):
        assert not (programs / name).exists()
    assert ignored(root) == ["!! .tools/", "!! .venv-demo/"]
    made(root, env, "clean")
    assert ignored(root) == []


def test_clean_removes_everything_that_git_ignores(tmp_path: Path) -> None:
    root = copy_of_the_tree(tmp_path / "checkout")
    patterns = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    for pattern in patterns:
        for folder in (root, root / "tests" / "node", root / "tests" / "grafana"):
            if folder == root or pattern == "node_modules":
                (folder / pattern).mkdir()
                (folder / pattern / "file").touch()
    (root / "node_modules" / "file").unlink()  # nothing of ours is installed there
    assert len(ignored(root)) >= len(patterns)
    subprocess.run(["make", "clean"], cwd=root, check=True, capture_output=True, timeout=60)
    assert ignored(root) == []
