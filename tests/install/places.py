"""A copy of this tree, as somebody who clones it has one, and an environment in which nothing is there yet."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import ROOT

SYSTEM_PATH: Final = "/usr/bin:/bin"
UV: Final = ROOT / ".tools" / "uv" / "bin" / "uv"


def copy_of_the_tree(place: Path) -> Path:
    """A git repository in `place` with all that is tracked here, or would be; nothing that was built."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    ).stdout.rstrip("\0").split("\0")  # fmt: skip
    for name in files:
        if (ROOT / name).exists():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, place / name)
    identity = ["-c", "user.name=T", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-q", "-m", "All of it"]):
        subprocess.run(["git", *words], cwd=place, check=True, timeout=60)
    return place


def empty_home(home: Path) -> dict[str, str]:
    """The environment of somebody whose home folder is empty, and whose PATH has neither go nor opa."""
    assert not [name for name in ("go", "opa") if shutil.which(name, path=SYSTEM_PATH)]
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "GO", "VIRTUAL_ENV", "UV_CACHE"))
    }
    return {**kept, "HOME": str(home), "PATH": SYSTEM_PATH, "UV_PYTHON_DOWNLOADS": "never"}


@dataclass(frozen=True, slots=True)
class World:
    """A checkout of ours, a bare clone of it, and a home in which OPA was built once."""

    checkout: Path
    clone: Path
    env: dict[str, str]
    said: str
    """By the install that built OPA."""

    @property
    def home(self) -> Path:
        """The home folder."""
        return Path(self.env["HOME"])

    def run(self, *words: str | Path) -> str:
        """What a command says on both its streams; it must end well."""
        done = subprocess.run(
            words, cwd=self.home, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=2400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout
