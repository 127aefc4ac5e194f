"""docs/release.md: what a user pastes to check a download works as it stands, and refuses what it should."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from deploy.release import keys
from deploy.release.publish import NEEDED, REMOTE
from deploy.release.statement import BUILD, BUILDER
from deploy.release.verify import verify
from tests.release import small
from tests.release.small import OF_IMAGE, PACKAGES, WHEEL, Keys
from tests.support import ROOT
from tests.support.document_commands import command_blocks

TEXT: Final = (ROOT / "docs" / "release.md").read_text(encoding="utf-8")
MAKE_KEY, CHECK = command_blocks(TEXT)


class Download:
    """A folder into which somebody downloaded a release and its key, and a pip that only says what it would install."""

    def __init__(self, folder: Path) -> None:
        self.keys = Keys(folder / "keys")
        self.folder = small.release(folder / "download", self.keys.signing)
        (self.folder / "release.pub").write_bytes(self.keys.public.read_bytes())
        programs = folder / "programs"
        programs.mkdir()
        (programs / "pip").write_text('#!/bin/sh\necho "pip $*"\n')
        (programs / "pip").chmod(0o755)
        self._path = f"{programs}{os.pathsep}{os.environ['PATH']}"

    def check(self, lines: str = CHECK) -> str:
        """What the lines of the guide print, with the names of this release in them."""
        script = lines.replace("intercept_sidecar-VERSION-TAG.whl", WHEEL).replace("VERSION", "0.2.0")
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env={**os.environ, "PATH": self._path}, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.stdout


@pytest.fixture
def download(tmp_path: Path) -> Download:
    return Download(tmp_path)


def test_the_lines_are_five_and_install_what_was_signed(download: Download) -> None:
    assert len(CHECK.splitlines()) == 5
    assert download.check().splitlines()[0] == "Verified OK"
    assert download.check().endswith(f"pip install ./{WHEEL}\n")


@pytest.mark.parametrize("name", [WHEEL, PACKAGES])
def test_the_lines_install_nothing_that_was_changed(download: Download, name: str) -> None:
    changed = (download.folder / name).read_bytes().replace(b"c", b"d")
    (download.folder / name).write_bytes(changed)
    assert "pip" not in download.check()


def test_the_lines_install_nothing_that_somebody_else_signed(download: Download, tmp_path: Path) -> None:
    (download.folder / "release.pub").write_bytes(Keys(tmp_path / "others").public.read_bytes())
    assert "pip" not in download.check()


def test_the_lines_install_nothing_that_only_another_provenance_speaks_of(download: Download) -> None:
    (download.folder / PACKAGES).write_bytes((download.folder / OF_IMAGE).read_bytes())
    assert download.check() == "Verified OK\n"


def test_the_key_that_the_guide_makes_signs_and_verifies(tmp_path: Path) -> None:
    subprocess.run(["bash", "-ec", MAKE_KEY], cwd=tmp_path, capture_output=True, timeout=60, check=True)
    released = small.release(tmp_path / "release", keys.signing(tmp_path / "release.key"))
    assert verify(released, keys.verification(tmp_path / "release.pub")).signed_with


def test_the_guide_names_every_variable_and_the_build_type() -> None:
    assert {*NEEDED, REMOTE} <= set(re.findall(r"`([A-Z_]+)`", TEXT))
    assert f"`{BUILD}`" in TEXT
    assert f"`{BUILDER}`" in TEXT
