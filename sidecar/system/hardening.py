"""What other processes of our user can see of us: no memory, and no secret that came with the environment."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from sidecar.errors import StartError

PR_SET_DUMPABLE: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)


def close() -> None:
    """Let nobody but root read our memory or trace us, and leave no core dump: our server runs as the same user.

    Raises `StartError` when the kernel does not do it.
    """
    if _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise StartError(f"cannot close our memory to other processes: {os.strerror(ctypes.get_errno())}")


def forget(*names: str) -> None:
    """Take variables out of our environment, and their values out of what the kernel goes on to show of it.

    `/proc/PID/environ` is the memory in which the environment was handed to us, whatever becomes of it later; root,
    and so a server that runs as root, may read it at any time.
    """
    wanted = tuple(f"{name}=".encode() for name in names)
    entries = ctypes.POINTER(ctypes.c_void_p).in_dll(_libc, "environ")
    at = 0
    while (entry := entries[at]) is not None:
        text = ctypes.string_at(entry)
        if text.startswith(wanted):
            begin = text.index(b"=") + 1
            ctypes.memset(entry + begin, 0, len(text) - begin)
        at += 1
    for name in names:
        os.environ.pop(name, None)
