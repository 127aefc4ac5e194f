"""Builds the bundle that travels: a policy with its files, signed if there is a key; the same bytes each time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

from sidecar.engine.sign import SigningKey, signed
from sidecar.policy import archive
from sidecar.policy.archive import TO_TRAVEL
from sidecar.policy.bundle import SOURCES
from sidecar.repository.folder import POLICIES, REGO, is_repository
from sidecar.repository.sources import write_sources
from sidecar.repository.subject import Subject

_SECONDS: Final = 20
DIRTY: Final = "-dirty"
"""What a commit is marked with where the files are not those of it."""


def packed(subject: Subject, key: SigningKey | None) -> bytes:
    """The archive of a policy.

    Nothing in it depends on when, where or by whom it is made, but a signature by a key that does not repeat its own.
    """
    files = {**subject.bundle.files, SOURCES: write_sources(subject.found)}
    return archive.write(files if key is None else signed(files, key), TO_TRAVEL)


def commit_of(path: Path) -> str:
    """The commit in which a policy file or a repository is, marked if what is built differs; empty where git has none.

    Only what goes into the bundle counts: the bundle itself may be written into the repository.
    """
    folder = path if path.is_dir() else path.parent
    built = [POLICIES, REGO] if is_repository(path) else [path.name]
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    if not commit:
        return ""
    changed = _git(folder, "status", "--porcelain", "--ignored", "--untracked-files=all", "--", *built)
    return f"{commit}{DIRTY}" if changed is None or changed else commit


def _git(folder: Path, *words: str) -> str | None:
    """What git says; None where it does not."""
    # A hook that calls us has set variables by which git would look at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # No programs that the repository names are run.
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
