"""A newcomer's machine: a home with nothing but a clone in it, no Go, no OPA, and what README takes for granted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.install.places import SYSTEM_PATH, World, copy_of_the_tree, empty_home

SECONDS: Final = 1200
"""The longest that one command may take on a busy machine."""
CACHE: Final = Path(".cache") / "intercept-sidecar"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """Somebody who cloned the project into their home. `env` are all variables of their shell."""

    env: dict[str, str]

    @property
    def home(self) -> Path:
        """The home folder."""
        return Path(self.env["HOME"])

    @property
    def clone(self) -> Path:
        """The clone of the project."""
        return self.home / "intercept-sidecar"

    def run(self, script: str, folder: Path) -> str:
        """What a script prints, run by bash as it stands. It must end well; otherwise all that it said is shown."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=self.env, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\nended with status {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def arrive(folder: Path, world: World, *tools: Path) -> Newcomer:
    """A newcomer in `folder` with Python and some tools for it.

    Only the OPA that the first install built is there already: building it takes minutes.
    """
    programs = folder / "programs"
    programs.mkdir(parents=True)
    python = Path(sys.base_prefix) / "bin" / "python3"
    for program in (python, *tools):
        (programs / program.name).symlink_to(program)
    env = empty_home(folder / "home")
    home = Path(env["HOME"])
    newcomer = Newcomer({**env, "PATH": os.pathsep.join([str(home / ".local" / "bin"), str(programs), SYSTEM_PATH])})
    copy_of_the_tree(newcomer.clone)
    shutil.copytree(world.home / CACHE, home / CACHE)
    return newcomer


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a document: under which heading, in which language, its text."""

    heading: str
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """The blocks of a Markdown document, in their order."""
    heading = ""
    for part in re.finditer(r"^## ([^\n]*)$|^```(\w*)\n(.*?)^```$", document, re.M | re.S):
        if part[1]:
            heading = part[1]
        else:
            yield Block(heading, part[2], part[3])
