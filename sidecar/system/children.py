"""Child processes that never outlive us: the kernel kills them when we die.

Each leads a session and a process group of its own. So a Ctrl-C of the terminal reaches us alone, and we can end the
children in good order, together with all that they started.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from typing import Any, Final

PR_SET_PDEATHSIG: Final = 1

_prctl = ctypes.CDLL(None, use_errno=True).prctl


async def start(
    protocol: Callable[[], asyncio.SubprocessProtocol], command: Sequence[str], **options: Any
) -> asyncio.SubprocessTransport:
    """Start a program; `options` are `stdin`, `stdout`, `stderr`, `env` and `cwd` as for `loop.subprocess_exec`.

    Raises OSError if it cannot be started.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(
        protocol, *command, preexec_fn=_dies_with(os.getpid()), start_new_session=True, **options
    )
    return transport


def find(program: str) -> None:
    """Raise OSError for a program that certainly cannot be started."""
    if shutil.which(program) is None:
        number = errno.EACCES if "/" in program and os.path.exists(program) else errno.ENOENT  # noqa: PTH110
        raise OSError(number, os.strerror(number))


def _dies_with(parent: int) -> Callable[[], None]:
    """What the child runs before the program, so that it dies with us. Only system calls, which are safe after fork."""

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # we died before the line above
        # The event loop leaves a second copy of each stream open in the child: with it nobody would see the stream end.
        for fd in _inheritable() - _INHERITED:
            os.set_inheritable(fd, False)

    return bind


def _inheritable() -> frozenset[int]:
    """The descriptors that a child gets beside its three streams."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - also between fork and exec
        with contextlib.suppress(OSError):  # it was the folder itself
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.add(int(name))
    return frozenset(found)


_INHERITED: Final = _inheritable()
"""Descriptors that we were started with are passed on to the server: `sidecar run -- server <(secret)`."""


def signal_group(group: int, number: int) -> None:
    """Send a signal to the processes that are left of a group."""
    # PermissionError: a program that runs as another user cannot be ended by us.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_gone(group: int) -> bool:
    """True if no process is left of the group of a child that has ended."""
    # As the first process of a container we also have to reap the children that others left behind.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def exit_status(returncode: int) -> int:
    """The exit status that a shell would show: 128 plus the signal, for a child that a signal ended."""
    return returncode if returncode >= 0 else 128 - returncode


def how_it_ended(returncode: int) -> str:
    """How a child ended, in words."""
    if returncode >= 0:
        return f"ended with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
