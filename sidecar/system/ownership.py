"""Checks owners of files and sockets. What decides must be ours or root's, and nobody else may be able to replace it.

Only owners and modes are checked, as ssh does with its keys; content is read elsewhere.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import socket
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sidecar.errors import StartError

MAX_LINKS: Final = 40
"""Symlinks on the way to a file, as many as the kernel follows."""

_ACL: Final = "system.posix_acl_access"
"""With an ACL, the group bits of the mode are the most that anybody named in it may do."""
_CREDENTIALS: Final = struct.Struct("iII")
_OTHERS_READ, _OTHERS_WRITE, _OTHERS_PASS, _GROUP_WRITES = stat.S_IROTH, stat.S_IWOTH, stat.S_IXOTH, stat.S_IWGRP


def check(path: Path, what: str, *, secret: bool = False) -> None:
    """Raise `StartError` if somebody else could change or replace `path`, or read it if it is `secret`.

    `what` names it in the error. A path that does not exist, or that we may not read, passes: its use will fail.
    """
    trusted = _trusted()
    try:
        *before, last = _way(path)
        for step in before:
            _check(step, what, trusted, on_the_way=True)
        _check(last, what, trusted, on_the_way=False)
        if secret and last.stat().st_mode & _OTHERS_READ:
            raise StartError(f"{what} {last} can be read by everybody: `chmod o-r {_typed(last)}`")
    except OSError:
        return


def trouble(path: Path, what: str, *, secret: bool = False) -> str | None:
    """What `check` says of the path; None where it passes. For files whose owner may have good reasons."""
    try:
        check(path, what, secret=secret)
    except StartError as error:
        return str(error)
    return None


def everybody_reads(path: Path) -> bool:
    """True if every user of this machine can read the file: it lets them, and so does each folder on its way."""
    try:
        *before, last = [step.lstat().st_mode for step in _way(path)]
    except OSError:
        return False
    return bool(last & _OTHERS_READ) and all(mode & _OTHERS_PASS for mode in before if stat.S_ISDIR(mode))


def is_ours(connection: socket.socket) -> bool:
    """True if the other end of a unix socket is a process of our user or of root, as the kernel tells."""
    _, user, _ = _CREDENTIALS.unpack(
        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    )  # fmt: skip
    return user in (0, os.geteuid())


def _way(path: Path) -> Iterator[Path]:
    """Every folder and symlink that a path goes through, and at last the file itself. Raises OSError."""
    at, links = Path("/"), 0
    yield at
    names = list(reversed(path.absolute().parts[1:]))
    while names:
        name = names.pop()
        if name == "..":
            at = at.parent
            continue
        step = at / name
        if step.is_symlink():
            links += 1
            if links > MAX_LINKS:
                raise OSError("too many links")
            target = step.readlink()
            at = Path("/") if target.is_absolute() else at
            names += reversed(target.parts[1:] if target.is_absolute() else target.parts)
            yield step
        else:
            at = step
            yield step


def _check(step: Path, what: str, trusted: frozenset[int], *, on_the_way: bool) -> None:
    found = step.lstat()
    if found.st_uid not in trusted:
        raise StartError(
            f"{what}: {step} belongs to user {found.st_uid}, who could put something else in its place: it must be "
            f"ours (user {os.geteuid()}) or root's"
        )
    if stat.S_ISLNK(found.st_mode) or (on_the_way and found.st_mode & stat.S_ISVTX):
        return  # a symlink has no mode of its own; in a sticky folder nobody can replace what is another's
    open_to = found.st_mode & (_OTHERS_WRITE | _GROUP_WRITES)
    if open_to == _GROUP_WRITES and _is_private(found) and _ACL not in os.listxattr(step):
        return
    # The root of a Kubernetes volume is writable for everybody: what protects it is who mounts it.
    is_volume = step.is_mount() and not found.st_mode & stat.S_ISVTX
    if open_to and not is_volume:
        who = "everybody" if open_to & _OTHERS_WRITE else f"group {found.st_gid}"
        remedy = f"`chmod go-w {_typed(step)}`"
        if not on_the_way and found.st_mode & stat.S_ISVTX:
            remedy = "name a folder in it, which will be ours alone"  # as /tmp, and volumes in memory
        raise StartError(f"{what}: {who} may write {step} and so decide in our place: {remedy}")


def _typed(path: Path) -> str:
    """The path as a shell takes it: whoever made the file may have chosen a name that says more."""
    return shlex.quote(str(path))


def _is_private(found: os.stat_result) -> bool:
    """True for a group with its owner's name and no other member, as many systems make for each user.

    Root's group is never private: some containers run any user in group 0.
    """
    try:
        owner, group = pwd.getpwuid(found.st_uid).pw_name, grp.getgrgid(found.st_gid)
    except KeyError:
        return False
    others = [user for user in pwd.getpwall() if user.pw_gid == found.st_gid and user.pw_uid != found.st_uid]
    return found.st_gid != 0 and group.gr_name == owner and set(group.gr_mem) <= {owner} and not others


def _trusted() -> frozenset[int]:
    """The users who may own what decides: we, root, and the owner of this program, who could change it anyway."""
    return frozenset({os.geteuid(), 0, Path(__file__).stat().st_uid, *_unmapped_root()})


def _unmapped_root() -> list[int]:
    """The user that root's files seem to have in a sandbox without root (bubblewrap)."""
    lines = Path("/proc/self/uid_map").read_text(encoding="utf-8").splitlines()
    if any(line.split()[0] == "0" for line in lines):
        return []
    return [int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="utf-8"))]
