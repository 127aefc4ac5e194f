"""A release is built whole, of the commit that it names, or there is none. (`test_whole` builds a real one.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.release import materials
from deploy.release.build import build
from deploy.release.refused import Refused
from deploy.release.source import source_of
from tests.release import small
from tests.release.small import checkout, commit
from tests.support import ROOT


def building(root: Path, script: str) -> str:
    """Why nothing is released from a checkout in which wheels are built by a script."""
    program = root / "deploy" / "wheel" / "build"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    commit(root)
    target = root.parent / "release"
    with pytest.raises(Refused) as caught:
        build(root, target, source_of(root), None, print, with_image=False)
    assert not target.exists()
    assert list(root.parent.iterdir()) == [root], "nothing is left"
    return str(caught.value)


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    assert building(checkout(tmp_path / "checkout"), "exit 3") == "build failed: exit status 3"


def test_a_file_that_comes_while_it_is_built_is_named(tmp_path: Path) -> None:
    assert building(checkout(tmp_path / "checkout"), "touch eve.py").startswith("eve.py is not committed")


def test_a_commit_that_comes_while_it_is_built_ends_it(tmp_path: Path) -> None:
    script = "git -c user.name=x -c user.email=x@example.com commit --quiet --allow-empty --message x"
    assert "another commit than when the build began" in building(checkout(tmp_path / "checkout"), script)


def test_a_folder_that_is_no_release_is_not_replaced(tmp_path: Path) -> None:
    root = checkout(tmp_path / "checkout")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "precious").touch()
    with pytest.raises(Refused, match="is no release that could be replaced"):
        build(root, tmp_path / "home", source_of(root), None, print)
    assert (tmp_path / "home" / "precious").exists()


def test_a_folder_with_sums_and_something_else_is_not_replaced(tmp_path: Path) -> None:
    root, downloads = checkout(tmp_path / "checkout"), tmp_path / "downloads"
    small.release(downloads, None)
    (downloads / "thesis.pdf").touch()
    with pytest.raises(Refused, match="is no release that could be replaced"):
        build(root, downloads, source_of(root), None, print)
    assert (downloads / "thesis.pdf").exists()


@pytest.mark.parametrize("go", ["go1.26.6", "1.26.6"])
def test_an_opa_that_only_says_that_it_is_the_right_one_is_not_released(tmp_path: Path, go: str) -> None:
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci" / "opa-sums.txt").write_text(f"{'a' * 64} 1.22.4-amd64-go1.26.6\n")
    known, other = (materials.Carried(b"", digit * 64, "v1.22.4", "", go) for digit in "ab")
    materials.check_opa(tmp_path, {Path(small.WHEEL): known})
    with pytest.raises(Refused, match=r"another OPA than \.ci/opa-sums\.txt knows"):
        materials.check_opa(tmp_path, {Path(small.WHEEL): other})


def test_a_wheel_that_carries_no_opa_is_released_by_nobody(tmp_path: Path) -> None:
    (tmp_path / small.WHEEL).write_bytes(small.wheel())
    with pytest.raises(Refused, match="carries no OPA with an SBOM"):
        materials.carried(tmp_path / small.WHEEL)


@pytest.mark.parametrize("variable", ["RELEASE_KEY", "RELEASE_PUBLIC_KEY"])
def test_make_hands_the_key_on(variable: str) -> None:
    verb = {"RELEASE_KEY": "release", "RELEASE_PUBLIC_KEY": "release-verify"}[variable]
    done = subprocess.run(
        ["make", "--dry-run", verb, f"{variable}=some.pem"],
        cwd=ROOT, env={**os.environ, "PYTHON": sys.executable}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert f"--key {ROOT / 'some.pem'}" in done.stdout
