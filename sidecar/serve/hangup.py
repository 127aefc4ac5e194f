"""What SIGHUP asks for: the policy is looked at again, and the audit file is opened anew. Nothing ends by it.

One case is left, in which the kernel sends it: the terminal that we were started on is gone, and with it the person.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal
from collections.abc import Callable
from typing import Final

from sidecar.system.operator_log import fields, log

STREAMS: Final = (0, 1, 2)


def listen_for(reload: asyncio.Event, reopen: Callable[[], None], leave: Callable[[int], None]) -> None:
    """Do what SIGHUP asks for from now on; `leave` is called with its number where our terminal is gone."""
    terminals = [stream for stream in STREAMS if os.isatty(stream)]

    def hang_up() -> None:
        if any(map(_is_gone, terminals)):
            leave(signal.SIGHUP)
            return
        log.warning("SIGHUP: the policy is looked at again, and the audit file is opened anew", extra=fields("hangup"))
        reload.set()
        reopen()

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hang_up)


def _is_gone(terminal: int) -> bool:
    poll = select.poll()
    poll.register(terminal, 0)
    return bool(poll.poll(0))
