"""A newcomer's machine: an empty home with a clone in it, no Go, no OPA, and no environment of ours."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import ROOT

SECONDS: Final = 900
"""The longest that one command may take: OPA is built from source in some of them."""
TOOLS: Final = ("uv", "uvx", "pipx")
_NETWORK: Final = ("PIP_", "GOPROXY", "GOSUMDB", "GONOSUMDB", "SSL_CERT_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables by which this machine reaches the registries: those a newcomer's machine does not need, or has its own."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A home, and the folder of programs that come first on the `PATH`."""

    home: Path
    programs: Path

    @property
    def clone(self) -> Path:
        """The clone of the project."""
        return self.home / "intercept-sidecar"

    @property
    def environment(self) -> dict[str, str]:
        """All variables of the newcomer's shell."""
        network = {name: value for name, value in os.environ.items() if name.upper().startswith(_NETWORK)}
        path = [self.home / ".sidecar" / "bin", self.home / ".local" / "bin", self.programs, "/usr/bin", "/bin"]
        return {**network, "HOME": str(self.home), "PATH": os.pathsep.join(map(str, path)), "LANG": "C.UTF-8"}

    def run(self, script: str, folder: Path, **more: str) -> str:
        """What a script prints, run by bash as it stands. Fails with everything that it said."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env={**self.environment, **more},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{script}\nended with status {done.returncode}:\n{done.stdout}\n{done.stderr}"
        return done.stdout


def arrive(home: Path, programs: Path) -> Newcomer:
    """An empty home with a clone of the project as it is now, what is not committed yet included."""
    programs.mkdir(parents=True, exist_ok=True)
    python = Path(sys.base_prefix) / "bin" / "python3"
    for name, program in ("python3", python), *((tool, _tool(tool)) for tool in TOOLS):
        (programs / name).symlink_to(program)
    newcomer = Newcomer(home, programs)
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in files.rstrip("\0").split("\0"):
        if (ROOT / name).is_file():
            (newcomer.clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, newcomer.clone / name)
    newcomer.run("git init -q . && git add -A && git -c user.name=n -c user.email=n@n commit -qm n", newcomer.clone)
    return newcomer


def _tool(name: str) -> Path:
    for folder in (ROOT / ".tools" / "uv" / "bin", ROOT / ".venv" / "bin"):
        if (folder / name).is_file():
            return folder / name
    raise RuntimeError(f"no {name} in .tools or .venv: run `make setup`")


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a document: under which heading, in which language, its text."""

    heading: str
    language: str
    text: str


def blocks(document: str) -> Iterator[Block]:
    """The blocks of a Markdown document, in their order."""
    heading = ""
    for part in re.finditer(r"^## (.*)$|^```(\w*)\n(.*?)^```$", document, re.M | re.S):
        if part[1]:
            heading = part[1]
        else:
            yield Block(heading, part[2], part[3])


def only(found: Mapping[str, list[str]], heading: str) -> str:
    """The one block under a heading."""
    (block,) = found[heading]
    return block
