"""The file of a recording: ours alone, of bounded size, and the one before it beside it as `FILE.1`."""

from __future__ import annotations

import fcntl
import mmap
import os
import stat
from pathlib import Path
from typing import Final

from sidecar.errors import StartError
from sidecar.rehearsal.recordings.recorded import BEGIN, is_cut
from sidecar.system import ownership

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class RecordFile:
    """The file at `path`; together with the one before it, it takes up to `size` bytes. Raises `StartError`."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.most = size // 2
        """Bytes of one of the two files: no line may be longer."""
        try:
            if path.is_symlink() or (path.exists() and not path.is_file()):  # to open a device may have effects
                raise PermissionError(0, "it is no regular file")
            ownership.check(path, "the recording (--record)", secret=True)
            self._file = _opened(path)
        except OSError as error:
            raise StartError(_refused(path, error)) from None
        self._size = os.fstat(self._file).st_size

    def write(self, lines: bytes) -> None:
        """Append whole lines of at most `most` bytes: all of them, or none. Raises OSError."""
        if not self._is_there():
            self._begin()
        elif self._size and self._size + len(lines) > self.most:
            self.path.replace(self.path.with_name(f"{self.path.name}.1"))  # in one step, for who reads it
            self._begin()
        taken = 0
        try:
            while taken < len(lines):
                taken += os.write(self._file, lines[taken:] if taken else lines)
        except OSError:
            # A line that was cut would make the next one unreadable.
            os.ftruncate(self._file, self._size)
            raise
        self._size += taken

    def close(self) -> None:
        """Close it."""
        os.close(self._file)

    def _is_there(self) -> bool:
        """False where somebody moved or removed the file, or we did and could not begin another."""
        try:
            return os.path.samestat(self.path.lstat(), os.fstat(self._file))
        except FileNotFoundError:
            return False

    def _begin(self) -> None:
        file = _opened(self.path)
        os.close(self._file)
        self._file, self._size = file, os.fstat(file).st_size


def _opened(path: Path) -> int:
    """The file, open for appending and locked. Raises OSError unless it is ours alone."""
    file = os.open(path, _FLAGS, 0o600)
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode):
            raise PermissionError(0, "it is no regular file")
        if found.st_uid != os.geteuid():
            raise PermissionError(0, f"it belongs to user {found.st_uid}")
        if found.st_mode & 0o077:
            raise PermissionError(0, f"others may read or write it: `chmod 600 {path}`")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if found.st_size:
            _end_the_last_line(file)
    except OSError:
        os.close(file)
        raise
    return file


def _end_the_last_line(file: int) -> None:
    """Make a file that is not empty end with a whole line.

    In a file that begins with a line of ours, the beginning of one is taken away: its writer was killed, and with
    an end it would be one that nobody can read. Whatever else stands there gets an end.
    """
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as content:
        begin = content.rfind(b"\n") + 1
        last, is_ours = content[begin:], begin == 0 or content[: len(BEGIN)] == BEGIN
    if not last:
        return
    if is_ours and last[: len(BEGIN)] == BEGIN[: len(last)] and is_cut(last):
        os.ftruncate(file, begin)
    else:
        os.write(file, b"\n")


def _refused(path: Path, error: OSError) -> str:
    if isinstance(error, BlockingIOError):
        why = "another sidecar records there"
    elif path.is_symlink():
        why = "it is a symlink, and whoever can turn it would say what is written"
    else:
        why = error.strerror or str(error)
    return f"cannot record in {path}: {why}; name another file with --record"
