"""The OPAs that builds of the wheel have kept on this machine, so that the next install takes seconds.

What lies there will decide for this user. A file counts only if nobody else could have put it there or changed it
since, and if it is, byte for byte, what a build put there. Why that suffices stands in
docs/architecture.md, in the table of shortcuts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.errors import StartError
from sidecar.system import ownership

SECONDS: Final = 60


class Unfit(Exception):
    """What lies in the cache may not be used; the text says why."""


def folder() -> Path:
    """The folder of this user's cache, whether it exists or not. Raises `Unfit` for a user without a home folder."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home raises where this stays as it is
    # The specification: a path that is not absolute is to be ignored.
    place = named if named.is_absolute() else home / ".cache"
    if not place.is_absolute():
        raise Unfit("this user has no home folder: name a folder for it with XDG_CACHE_HOME")
    return place / "intercept-sidecar" / "opa"


def prepare(place: Path) -> None:
    """Make a folder, and what is missing above it, for this user alone.

    Raises `Unfit` where others could change it, and where it is, or would be, in a folder of another user: root, who
    installs from a user's checkout, would leave there what that user can neither use nor remove.
    """
    missing = [step for step in (place, *place.parents) if not os.path.lexists(step)]
    for step in reversed(missing):
        # Looked at before anything is made: root makes no folders in the home of a user who became root by sudo.
        _belongs(step.parent)
        _own(step.parent, or_root=True)
        try:
            step.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise Unfit(f"cannot make {step}: {error.strerror}") from None
    _belongs(place)
    _own(place, or_root=False)


def fitting(place: Path, version: str) -> Path | None:
    """The OPA that was kept in the folder `place`; None if none was. Raises `Unfit` if it must not be used."""
    opa, written = place / "opa", place / "opa.sha256"
    if not os.path.lexists(place):
        return None
    for path in (place, opa, written):
        check_plain(path)
    try:
        digest = sha256(opa)
        if written.read_text(encoding="ascii") != digest + "\n":
            raise Unfit(f"{opa} is not what was built: its SHA-256 is {digest}")
    except (OSError, UnicodeError) as error:
        raise Unfit(f"cannot read what is in {place}: {error}") from None
    check_version(opa, version)
    return opa


def check_plain(path: Path) -> None:
    """Raise `Unfit` unless this is a plain file, or a folder, that only this user or root can change or replace."""
    _belongs(path)
    found = path.lstat().st_mode if os.path.lexists(path) else 0
    if not (stat.S_ISREG(found) or stat.S_ISDIR(found)):
        raise Unfit(f"{path} is {'a symlink' if stat.S_ISLNK(found) else 'missing, or no plain file'}")


def check_version(opa: Path, version: str) -> None:
    """Raise `Unfit` unless the program, which is trusted otherwise, says that it is this version of OPA."""
    try:
        done = subprocess.run(
            [opa, "version"], capture_output=True, timeout=SECONDS, check=False, env={}, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unfit(f"cannot run {opa}: {error}") from None
    if f"Version: {version}".encode() not in done.stdout.splitlines():
        raise Unfit(f"{opa} does not say that it is OPA {version}")


def keep(made: Path, place: Path) -> Path:
    """Put the folder `made`, with a new `opa` in it, where `fitting` finds it. The path of the binary.

    Raises OSError where that cannot be done: then `made` stays as it is.
    """
    (made / "opa.sha256").write_text(sha256(made / "opa") + "\n", encoding="ascii")
    # Whatever the umask.
    (made / "opa").chmod(0o755)
    (made / "opa.sha256").chmod(0o644)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif place.exists():
        shutil.rmtree(place)
    made.rename(place)  # at once: nobody sees half of it
    return place / "opa"


@contextmanager
def building(folder: Path, key: str) -> Iterator[Path]:
    """A folder in which to build what is kept under the key; it is removed afterwards, unless it was kept.

    One build at a time: another one waits. Where files cannot be locked, both build, and the last one is kept. Raises
    `Unfit` where nothing can be written.
    """
    start = f"building-{key}-"
    with _alone(folder / f"{key}.lock") as locked:
        if locked:
            for left in folder.glob(f"{start}*"):  # by a build that was killed
                shutil.rmtree(left, ignore_errors=True)
        try:
            made = Path(tempfile.mkdtemp(prefix=start, dir=folder))
        except OSError as error:
            raise Unfit(f"cannot write in {folder}: {error.strerror}") from None
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _alone(lock: Path) -> Iterator[bool]:
    """Wait until nobody else has the lock, which goes with the process that holds it. False if none can be had."""
    try:
        file = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError:
        yield False
        return
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another install builds the same OPA: waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            yield False
            return
        yield True
    finally:
        os.close(file)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own(path: Path, *, or_root: bool) -> None:
    owner, user = path.stat().st_uid, os.geteuid()
    if owner != user and not (or_root and owner == 0):
        raise Unfit(
            f"{path} belongs to user {owner}, and you are user {user}: name a folder of your own with XDG_CACHE_HOME"
        )


def _belongs(path: Path) -> None:
    try:
        ownership.check(path, "the cache")
    except StartError as error:
        raise Unfit(str(error)) from None
