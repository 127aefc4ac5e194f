"""A unix socket to listen on, for our user alone. One that a process left behind when it was killed is taken over."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

MODE: Final = 0o600


def bound(path: Path) -> socket.socket:
    """A socket that is bound to `path`.

    Raises OSError: EADDRINUSE where somebody listens there, or what stands there is no socket of ours.
    """
    try:
        return _bound(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or not _is_left_behind(path):
            raise
    path.unlink(missing_ok=True)
    return _bound(path)


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        # Before it has a name: the kernel gives the file this mode, so it is never open to anybody else.
        os.fchmod(listening.fileno(), MODE)
        listening.bind(str(path))
    except BaseException as error:
        listening.close()
        # A path is too long for the kernel without an error of the system.
        if isinstance(error, OSError) and error.errno is None:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG)) from None
        raise
    return listening


def _is_left_behind(path: Path) -> bool:
    """True for a socket of ours on which nobody listens."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
            return False
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            return asking.connect_ex(str(path)) == errno.ECONNREFUSED
    return False
