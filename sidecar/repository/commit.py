"""The commit that a policy was read from: what git says of it, held against the very bytes that were read.

Git is only asked what a commit has, and we compute its names for our files ourselves. `git status` would run what the
repository's own configuration names (filters, hooks, monitors), and believe what its index says.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sidecar.policy.custom import shown
from sidecar.repository.folder import POLICIES, REGO, travels
from sidecar.repository.subject import Subject

_SECONDS: Final = 20
DIRTY: Final = "-dirty"
"""What a commit is marked with where the files are not those of it."""
_REGULAR: Final = ("100644", "100755")
_GIT: Final = ("git", "--no-pager", "-c", "core.fsmonitor=", "-c", "core.hooksPath=/dev/null")
_ENVIRONMENT: Final = {
    # Nothing is fetched, which would run what the repository names as the way to a remote; older versions of git know
    # only the second.
    "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",  # with these a commit has other files than its name says
    "GIT_LITERAL_PATHSPECS": "1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit by its name, marked if what was read differs from it; `differing` are the files that do.

    It is a note for people: whoever made the folder of git decides what git says.
    """

    name: str = ""
    differing: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}{DIRTY}" if self.differing else self.name


def commit_of(read: Subject) -> Commit:
    """The commit in which a policy file or a repository is; one without a name where git has none.

    Only what goes into the bundle counts: the bundle itself may be written into the repository.
    """
    is_repository = read.repository is not None
    folder = read.path if is_repository else read.path.parent
    name = _said(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}").strip()
    if not name:
        return Commit()
    built = _built(read, folder)
    listed = _said(folder, "ls-tree", "-r", "-z", name, "--", *([POLICIES, REGO] if is_repository else built))
    # Where git does not say what the commit has, none of the files is known to be in it.
    committed = {path: blob for path, blob in _entries(listed) if not is_repository or travels(path)}
    same = {path for path, data in built.items() if committed.get(path) == _blob(data, len(committed.get(path, "")))}
    return Commit(name, tuple(sorted((built.keys() | committed.keys()) - same)))


def _built(read: Subject, folder: Path) -> dict[str, bytes]:
    """The content of the files that go into the bundle, as it was read."""
    found = {one.path.relative_to(folder).as_posix(): one.content.data for one in read.found if one.content is not None}
    return found | {shown(path): text.encode() for path, text in read.custom.files.items()}


def _entries(listed: str) -> Iterator[tuple[str, str]]:
    """The files that git lists, each with git's name for its content; what is no file has none that fits."""
    for line in filter(None, listed.split("\0")):
        meta, _, path = line.partition("\t")
        mode, _, blob = meta.split(" ")
        yield path, blob if mode in _REGULAR else ""


def _blob(data: bytes, length: int) -> str:
    """Git's name for a content, in as many digits as the repository's are: SHA-1, or SHA-256."""
    kind: Mapping[int, str] = {40: "sha1", 64: "sha256"}
    if length not in kind:
        return "-"
    name = hashlib.new(kind[length], b"blob %d\0" % len(data), usedforsecurity=False)
    name.update(data)
    return name.hexdigest()


def _said(folder: Path, *words: str) -> str:
    """What git says; nothing where it fails."""
    # A hook that calls us has set variables by which git would look at another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | _ENVIRONMENT
    try:
        done = subprocess.run(
            [*_GIT, "-C", str(folder), *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
            check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(done.stdout) if done.returncode == 0 else ""
