"""What is released: the version and the commit of a checkout in which nothing else lies."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.release.commands import run
from deploy.release.refused import Refused

VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){2}((a|b|rc)[0-9]+)?")
_STATUS: Final = ("status", "--porcelain", "--untracked-files=all", "--ignore-submodules=none")
"""Whatever the configuration of git leaves out."""
COMMIT: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")


@dataclass(frozen=True, slots=True)
class Source:
    """A commit, its version, and when it was made, in Unix seconds: every timestamp in a package is that."""

    version: str
    commit: str
    seconds: int

    @property
    def tag(self) -> str:
        """The tag that the commit has or gets."""
        return f"v{self.version}"


def source_of(root: Path) -> Source:
    """The source in a checkout.

    Raises `Refused` for a dirty tree, a version without an entry in CHANGELOG.md, and tags that say something else.
    """
    if changed := git(root, *_STATUS).splitlines():
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise Refused(f"{changed[0][3:]}{more} is not committed: a release is built from a commit and nothing else")
    version = str(tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
    if not VERSION.fullmatch(version):
        raise Refused(f"pyproject.toml has version {version!r}: write one such as 1.2.3 or 1.2.3rc1")
    entry(root, version)
    found = Source(version, git(root, "rev-parse", "HEAD"), int(git(root, "log", "-1", "--format=%ct")))
    _check_tags(root, found)
    return found


def entry(root: Path, version: str) -> str:
    """The date in the heading of a version in CHANGELOG.md, or `unreleased`. Raises `Refused` without a heading."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(version)} - (\S+)$", text, re.MULTILINE)
    if found is None:
        raise Refused(f"CHANGELOG.md has no entry for {version}: write one below `## {version} - YYYY-MM-DD`")
    return found[1]


def _check_tags(root: Path, found: Source) -> None:
    here = [tag for tag in git(root, "tag", "--points-at", "HEAD").split() if re.match(r"v[0-9]", tag)]
    if other := [tag for tag in here if tag != found.tag]:
        raise Refused(
            f"the commit has the tag {other[0]}, and pyproject.toml has version {found.version}: one of them is wrong"
        )
    if not here and git(root, "tag", "--list", found.tag):
        raise Refused(f"the tag {found.tag} is on another commit: a version is released once, so raise the version")


def git(root: Path, *words: str) -> str:
    """What git says of a checkout."""
    return run(["git", *words], root, seconds=60, environment={"GIT_TERMINAL_PROMPT": "0"}).rstrip("\n")
