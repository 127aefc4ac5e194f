"""How a command that started programs ends: whatever ends it, nothing of them keeps running."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import NoReturn


def exit_with(main: Callable[[], int]) -> NoReturn:
    """End with the exit status of `main`, or as a shell would say of a signal, through every `finally`."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _stop)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)
