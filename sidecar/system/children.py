"""Child processes that never outlive us: the kernel ends them when we die.

Each leads a session and a process group of its own. So the terminal's Ctrl-C reaches us alone, and we end them in good
order; and what a child started can be ended with it.
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
    """Start a program; `options` are `stdin`, `stdout`, `stderr` and `env` as for `loop.subprocess_exec`.

    Raises OSError when it cannot be started.
    """
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(
        protocol, *command, preexec_fn=_dies_with(os.getpid()), start_new_session=True, **options
    )
    return transport


def find(program: str) -> None:
    """Look whether a program could be started. Raises OSError when it certainly could not."""
    if shutil.which(program) is None:
        number = errno.EACCES if "/" in program and os.path.exists(program) else errno.ENOENT  # noqa: PTH110
        raise OSError(number, os.strerror(number))


def _dies_with(parent: int) -> Callable[[], None]:
    """What the child runs before the program: bind its life to ours. Only system calls, so threads do no harm."""

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # we died before the line above
        # The event loop leaves a second copy of each stream open in the child: its end would never be heard of.
        for fd in _inheritable() - _INHERITED:
            os.set_inheritable(fd, False)

    return bind


def _inheritable() -> frozenset[int]:
    """What a child gets beside its three streams."""
    found = set()
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - also between fork and exec
        with contextlib.suppress(OSError):  # it was the folder itself
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.add(int(name))
    return frozenset(found)


_INHERITED: Final = _inheritable()
"""What we were given is the server's too: `sidecar run -- server <(secret)`."""


def signal_group(group: int, number: int) -> None:
    """Send a signal to whoever is left of a group."""
    # Of a program that runs with the rights of somebody else we can end nothing.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def is_gone(group: int) -> bool:
    """True when nobody is left of the group of a child whose own end was heard of."""
    # Where we are the first process of a container, what others leave behind is ours to bury.
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
    """The exit status that a shell would show: 128 and the signal for a child that one ended."""
    return returncode if returncode >= 0 else 128 - returncode


def how_it_ended(returncode: int) -> str:
    """Words for the way in which a child ended."""
    if returncode >= 0:
        return f"ended with status {returncode}"
    try:
        return f"was ended by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was ended by signal {-returncode}"
