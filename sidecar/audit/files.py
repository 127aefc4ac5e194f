"""The file of an audit log: locked for its one writer, put aside when it is full, followed when it is moved."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Final

from sidecar.audit.forms.form import Form
from sidecar.audit.position import Position, position_in

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_OPENED: Final = ("/proc/", "/dev/fd/", "/dev/stdout", "/dev/stderr")
_PAUSE: Final = 0.05
_TRIES: Final = 20
"""How often a file is opened anew that is moved between the opening and the locking."""


class InUse(OSError):
    """Another process writes there."""


class AuditFile:
    """The regular file at `path`, open for appending and locked. Raises `InUse` and OSError.

    At `most` bytes another file follows. A lock that another process has is waited for, for `patience` seconds.
    """

    def __init__(self, path: Path, form: Form, most: int, patience: float) -> None:
        self._form = form
        self._most = self._due = most
        self._path = path.resolve()
        self._stream = opened(self._path, patience)
        self.position = Position()
        """Where its chain goes on."""
        self.size = self._length()
        try:
            self._begin()
        except InUse:
            self._stream.close()
            raise

    @property
    def path(self) -> Path:
        """Where it is, without symlinks."""
        return self._path

    def write(self, data: bytes) -> int | None:
        """As of an unbuffered stream. Raises OSError."""
        written = self._stream.write(data)
        self.size += written or 0
        return written

    def is_full(self, more: int) -> bool:
        """True where so many more bytes belong into another file."""
        return self.size + more > self._due and self.size > 0

    def put_aside(self) -> None:
        """Give the file the next number, and begin another one at its path.

        Raises OSError. Then it is as it was, and is not full before it has grown some more.
        """
        self._due = self.size + self._most // 8
        if not _is_at(self._path, self._stream):  # somebody was faster, and what is at the path is not ours
            self._follow()
            return
        aside = _next_number(self._path)
        # A file of our own takes the name first, so that nobody's is overwritten.
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        try:
            self._path.rename(aside)
        except OSError:
            aside.unlink()
            raise
        try:
            self._follow()
        except OSError:
            with contextlib.suppress(OSError):
                if not os.path.lexists(self._path):
                    aside.rename(self._path)
            raise

    def is_moved(self) -> bool:
        """True where somebody moved, removed or emptied the file."""
        return not _is_at(self._path, self._stream) or self._length() < self.size

    def reopen(self) -> None:
        """Go on with the file that is at the path now, or with a new one. Raises OSError: then the old one stays."""
        if _is_at(self._path, self._stream):
            self.size = self._length()  # it was emptied
        else:
            self._follow()
            if self.size:  # it is not what we wrote, so our chain cannot go on in it
                with contextlib.suppress(OSError):  # it does all the same, which shows
                    self.put_aside()

    def close(self) -> None:
        """Close it, and give the lock back."""
        self._stream.close()

    def _begin(self) -> None:
        """Find where the chain goes on; what this form cannot go on with is put aside."""
        if self.size:
            self.position, is_ours = position_in(self._path, self._form)
            if is_ours:
                if self.position.seq == 0:
                    self.position = replace(self._elsewhere(), torn=self.position.torn, is_open=True)
                return
            with contextlib.suppress(OSError):  # then the chain begins amid the file, which shows
                self.put_aside()
        else:
            self.position = self._elsewhere()

    def _elsewhere(self) -> Position:
        """Where the chain goes on that ends in the file that was put aside last."""
        try:
            if (before := _last(self._path)) is not None:
                if _is_written(before):  # its writer is putting it aside, and comes back for the path
                    raise InUse(errno.EWOULDBLOCK, "another process writes there")
                return position_in(before, self._form)[0].in_another_file()
        except InUse:
            raise
        except OSError:  # a folder that cannot be listed: a chain begins
            pass
        return Position()

    def _follow(self) -> None:
        before = os.fstat(self._stream.fileno())
        stream = opened(self._path, 0)
        with contextlib.suppress(OSError):  # who could read the file before can read this one
            if not os.fstat(stream.fileno()).st_size:
                os.fchmod(stream.fileno(), stat.S_IMODE(before.st_mode))
                os.fchown(stream.fileno(), before.st_uid, before.st_gid)
        self._stream.close()
        self._stream = stream
        self.size = self._length()
        self._due = self._most

    def _length(self) -> int:
        return os.fstat(self._stream.fileno()).st_size


def is_file(path: Path) -> bool:
    """True for a regular file, and for none at all, which will be one.

    False for a name of what is open already, as `/dev/stderr`: it may lead to a file, and others write there.
    """
    if os.path.abspath(path).startswith(_OPENED):  # noqa: PTH100 - links must not be followed
        return False
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        return True


def _is_at(path: Path, stream: IO[bytes]) -> bool:
    """True where the path still leads to the file that is open."""
    try:
        there = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - half the cost of pathlib's
    except OSError:
        return False
    return os.path.samestat(there, os.fstat(stream.fileno()))


def numbered(path: Path) -> Iterator[tuple[int, Path]]:
    """The files that were put aside from `path`, and their numbers, in no order. Raises OSError."""
    named = re.compile(rf"{re.escape(path.stem)}\.([0-9]{{6,}}){re.escape(path.suffix)}")
    with os.scandir(path.parent) as found:
        for entry in found:
            if (match := named.fullmatch(entry.name)) is not None:
                yield int(match[1]), path.with_name(entry.name)


def opened(path: Path, patience: float) -> IO[bytes]:
    """The regular file at `path`, made where it is not there, open for appending and locked.

    Raises `InUse` and OSError.
    """
    until = time.monotonic() + patience
    for _ in range(_TRIES):
        # A file that an operator made keeps its mode, so that a log shipper can read it.
        stream = os.fdopen(os.open(path, _FLAGS, 0o600), "ab", buffering=0)
        try:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                raise OSError(errno.EINVAL, "it is no regular file")
            _lock(stream, until)
            # It may have been put aside, or swept, before we had the lock.
            if _is_at(path, stream):
                return stream
        except BaseException:
            stream.close()
            raise
        stream.close()
    raise InUse(errno.EAGAIN, "it is moved again and again")


def _lock(stream: IO[bytes], until: float) -> None:
    while True:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise InUse(errno.EWOULDBLOCK, "another process writes there") from None
            time.sleep(_PAUSE)
        else:
            return


def _is_written(path: Path) -> bool:
    """True where somebody has the lock of a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _next_number(path: Path) -> Path:
    number = max((number for number, _ in numbered(path)), default=0) + 1
    return path.with_name(f"{path.stem}.{number:06d}{path.suffix}")


def _last(path: Path) -> Path | None:
    """The file that was put aside last, if it holds anything. Raises OSError."""
    for _, file in sorted(numbered(path), reverse=True):
        if file.is_file() and file.stat().st_size:
            return file
    return None
