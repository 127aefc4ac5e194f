"""A unix socket to listen on, for our user alone. One that a process left behind when it was killed is taken over.

Several sidecars may begin at once with the same path: none may take over what another just bound.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

MODE: Final = 0o600


def bound(path: Path) -> socket.socket:
    """A socket that listens at `path`.

    Raises OSError: EADDRINUSE where somebody listens there, or what stands there is no socket of ours.
    """
    with _turn(path.parent) as is_ours:
        try:
            return _bound(path)
        except OSError as error:
            # Without the turn somebody else may be about to take it over.
            if error.errno != errno.EADDRINUSE or not is_ours or not _is_left_behind(path):
                raise
        path.unlink(missing_ok=True)
        return _bound(path)


def removal(path: Path) -> Callable[[], None]:
    """What removes the socket that is at `path` now; another one that stands there by then stays."""
    ours = None
    with contextlib.suppress(OSError):
        ours = path.lstat()

    def remove() -> None:
        with contextlib.suppress(OSError):
            if ours is not None and os.path.samestat(path.lstat(), ours):
                path.unlink()

    return remove


@contextlib.contextmanager
def _turn(folder: Path) -> Iterator[bool]:
    """True if nobody else binds or takes over in this folder meanwhile; nobody is waited for."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:  # as one that we may not list
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


def _bound(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX)
    try:
        # Before it has a name: the kernel gives the file this mode, so it is never open to anybody else.
        os.fchmod(listening.fileno(), MODE)
        listening.bind(str(path))
        listening.listen()  # within the turn: until then it looks as if it were left behind
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
