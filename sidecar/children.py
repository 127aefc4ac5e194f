"""Child processes that never outlive us: they stay in our process group and the kernel ends them when we die."""

from __future__ import annotations

import asyncio
import ctypes
import os
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
    transport, _ = await loop.subprocess_exec(protocol, *command, preexec_fn=_dies_with(os.getpid()), **options)
    return transport


def _dies_with(parent: int) -> Callable[[], None]:
    """What the child runs before the program: bind its life to ours. Only system calls, so threads do no harm."""

    def bind() -> None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)  # we died before the line above

    return bind


def exit_status(returncode: int) -> int:
    """The exit status that a shell would show: 128 and the signal for a child that one ended."""
    return returncode if returncode >= 0 else 128 - returncode
