"""A terminal that a command draws anew each second, until q or a signal; then what stood there before is back."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

EVERY: Final = 1.0
"""Seconds between two looks."""

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The other screen, so that what stood on the terminal is back in the end; and no cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST: Final = "\x1b[J"


def stopped_by_signals() -> asyncio.Event:
    """Set when a signal asks us to end."""
    asked_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, asked_to_stop.set)
    return asked_to_stop


def draw(lines: Sequence[str]) -> None:
    """Write these lines over what stands there. None may be wider than the terminal."""
    body = "".join(f"{line}{_REST_OF_LINE}\n" for line in lines)
    sys.stdout.write(f"{_HOME}{body}{_REST}")
    sys.stdout.flush()


async def pause(asked_to_stop: asyncio.Event) -> None:
    """Wait until the next look."""
    try:
        async with asyncio.timeout(EVERY):
            await asked_to_stop.wait()
    except TimeoutError:
        return


@contextmanager
def screen() -> Iterator[None]:
    """The other screen of the terminal, until the end, however it comes."""
    sys.stdout.write(_ENTER)
    sys.stdout.flush()
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


@contextmanager
def keys(asked_to_stop: asyncio.Event) -> Iterator[None]:
    """Hear q at once, where the input is a terminal too."""
    if not sys.stdin.isatty():
        yield
        return
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        typed = os.read(keyboard, 64)
        if not typed or b"q" in typed.lower():
            asked_to_stop.set()

    try:
        tty.setcbreak(keyboard, termios.TCSANOW)
        loop.add_reader(keyboard, pressed)
        yield
    finally:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
