"""Hides our memory, and secrets in our environment, from other processes of our user."""

from __future__ import annotations

import ctypes
import os
from typing import Final

from sidecar.errors import StartError

PR_SET_DUMPABLE: Final = 4

_libc = ctypes.CDLL(None, use_errno=True)


def close() -> None:
    """Let only root read our memory or trace us, and leave no core dump: the server runs as the same user.

    Raises `StartError` if the kernel refuses.
    """
    if _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0):
        raise StartError(f"cannot close our memory to other processes: {os.strerror(ctypes.get_errno())}")


def forget(*names: str) -> None:
    """Remove variables from our environment, and overwrite their values in the memory that the kernel shows of it.

    `/proc/PID/environ` shows the memory in which the environment was passed to us, whatever is unset later. Root can
    read it at any time, and so can a server that runs as root.
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
