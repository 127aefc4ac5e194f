"""Files that others write and we read: regular ones only, of bounded size, and whether a writer has them open.

No call here waits for a writer: only regular files are opened.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

Stamp: TypeAlias = tuple[int, ...]
"""Device, inode, size, mtime and ctime: if it differs, the content may differ."""

_LOCAL: Final = frozenset(
    {
        0xEF53, 0x58465342, 0x9123683E, 0xF2F52010, 0x2FC12FC1, 0xCA451A4E,  # ext4, XFS, Btrfs, F2FS, ZFS, bcachefs
        0x01021994, 0x858458F6, 0x794C7630,  # tmpfs, ramfs, overlay
    }
)  # fmt: skip
"""File systems that only processes on this machine write to (`statfs`, `f_type`)."""

_PART: Final = 1 << 18
"""Bytes of one read."""

_TRIES: Final = 5
"""How often a file is read again that is replaced during the reading."""

_KINDS: Final = (
    (stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"),
)  # fmt: skip

_fstatfs = ctypes.CDLL(None, use_errno=True).fstatfs


class Unreadable(Exception):
    """The file cannot be read. The text says why, and holds none of the content."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file at one moment. `leads_to` is where its symlinks lead.

    `open_for_writing` says whether a writer has it open; None if the system does not tell.
    """

    data: bytes = field(repr=False)
    stamp: Stamp
    leads_to: str
    open_for_writing: bool | None


@dataclass(frozen=True, slots=True)
class Found:
    """A file at one look: its content, or else the `problem`."""

    path: Path
    content: Content | None
    problem: str = ""

    def holds_as(self, other: Found) -> bool:
        """True for the same content as in the other, or the same problem."""
        return _data(self) == _data(other) and self.problem == other.problem


def stamp(path: Path) -> Stamp | None:
    """The stamp of the file; None if it is not there."""
    try:
        found = os.stat(path)  # noqa: PTH116 - half the cost of pathlib's
    except OSError:
        return None
    return _stamp(found)


def find(path: Path, limit: int) -> Found:
    """The file as it is now."""
    try:
        return Found(path, read(path, limit))
    except Unreadable as error:
        return Found(path, None, str(error))


def read(path: Path, limit: int) -> Content:
    """The content of a regular file of at most `limit` bytes. Raises `Unreadable`."""
    for _ in range(_TRIES):
        try:
            return _read(path, limit)
        except OSError as error:
            raise Unreadable(error.strerror or str(error)) from None
        except _Gone:
            continue
    raise Unreadable("it is replaced again and again")


class _Gone(Exception):
    """The file was replaced while it was read."""


def _read(path: Path, limit: int) -> Content:
    _must_be_regular(os.stat(path))  # noqa: PTH116 - before it is opened: opening a device may have effects
    # O_NONBLOCK: opening a pipe that took its place would block for ever.
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        before = os.fstat(fd)
        _must_be_regular(before)
        data = _bytes(fd, limit + 1) if before.st_size <= limit else b""
        if before.st_size > limit or len(data) > limit:
            raise Unreadable(f"it is larger than {limit} bytes")
        # Only after the reading: a writer who closed it before, or opens it later, has written nothing in between if
        # the stamp is still the same.
        written = _open_for_writing(fd)
        leads_to = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - a name that the kernel made
        after = os.fstat(fd)
    finally:
        os.close(fd)
    if not after.st_nlink and not os.path.samestat(after, os.stat(path)):  # noqa: PTH116 - as above
        # It was removed meanwhile, and `leads_to` does not say where it was. (A file that is a mount point may have no
        # link and still be there.)
        raise _Gone
    if _stamp(before) != _stamp(after):
        written = True
    return Content(data, _stamp(after), leads_to, written)


def _bytes(fd: int, most: int) -> bytes:
    """The first bytes of a file. Raises `BlockingIOError` for one without data now, as some of the kernel's files."""
    data = bytearray()
    while len(data) < most and (part := os.read(fd, min(most - len(data), _PART))):
        data += part
    return bytes(data)


def _data(found: Found) -> bytes | None:
    return found.content.data if found.content is not None else None


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _must_be_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(found.st_mode)), "something else")
        raise Unreadable(f"it is no regular file but {kind}")


def _open_for_writing(fd: int) -> bool | None:
    """Whether a writer has the file open: the kernel grants a read lease only if none has.

    The lease is given back at once. A writer who opens the file in between waits for that, and the kernel signals us:
    by SIGURG, which is ignored by default, and not by SIGIO, which would end us.
    """
    if not _is_local(fd):
        return None
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return True
    except OSError:  # another user's file, or a kernel or file system without leases
        return None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_local(fd: int) -> bool:
    # Other file systems refuse a lease for other reasons, or grant one while another machine writes.
    found = ctypes.create_string_buffer(256)
    if _fstatfs(fd, found) != 0:
        return False
    return int.from_bytes(found.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF in _LOCAL
