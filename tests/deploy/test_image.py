"""The image: what a linter of Containerfiles says, and that it is nobody's and pinned."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support import ROOT

DEPLOY = ROOT / "deploy"
CONTAINERFILES = ("Containerfile", "server.Containerfile")


def instructions(name: str) -> list[tuple[str, str]]:
    """The instructions of a Containerfile, each in one line."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / name).read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_the_linter_has_nothing_to_say(name: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DEPLOY / name], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", CONTAINERFILES)
def test_an_image_runs_as_the_user_of_the_manifests_and_is_built_on_what_its_builder_names(name: str) -> None:
    found = instructions(name)
    assert [rest for word, rest in found if word == "USER"][-1] == "10001:10001"
    (argument,) = [rest for word, rest in found if word == "ARG"]
    assert argument in ("BASE", "SIDECAR"), "no default: a base is named by its digest"
    assert {rest.split()[0] for word, rest in found if word == "FROM"} == {f"${{{argument}}}"}


def test_the_image_has_exactly_the_pinned_versions_of_what_the_sidecar_needs() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / ".ci" / "requirements.txt").read_text(), re.MULTILINE))
    ours = dict(re.findall(r"^([\w.-]+)==(\S+)", (DEPLOY / "requirements.txt").read_text(), re.MULTILINE))
    assert ours.items() <= pinned.items()
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {Requirement(item).name for item in needed} <= ours.keys()
