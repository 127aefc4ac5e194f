"""`sidecar approvals list --watch`: a table that follows the store, or in a pipe a line for each change."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final

from sidecar.approvals.document import document
from sidecar.cli.approvals_store import whole
from sidecar.cli.approvals_table import cut
from sidecar.cli.approvals_text import change_line, list_lines
from sidecar.ledger.approvals import Approvals, NoApproval, Record, State

EVERY: Final = 1.0
"""Seconds between two looks at the store."""
MOST: Final = 1_000

_ENTER: Final = "\x1b[?1049h\x1b[?25l"
"""The other screen, so that what stood on the terminal is back in the end; and no cursor."""
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST: Final = "\x1b[J"


async def watch(
    approvals: Approvals, states: Collection[State], server: str, as_json: Callable[[Any], str] | None
) -> None:  # fmt: skip
    """Follow approvals in these states until q, a signal or the end of the pipe. Raises `StoreUnavailable`."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked_to_stop.set)
    if sys.stdout.isatty() and as_json is None:
        with _screen(), _keys(asked_to_stop):
            await _redraw(approvals, states, server, asked_to_stop)
        return
    try:
        await _tell(approvals, states, server, as_json, asked_to_stop)
    except BrokenPipeError:
        # Nobody reads any more. What is still buffered must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _redraw(approvals: Approvals, states: Collection[State], server: str, asked_to_stop: asyncio.Event) -> None:
    while not asked_to_stop.is_set():
        records = await approvals.records(states, server=server, limit=MOST, brief=True)
        grants = await approvals.grants(server)
        size = shutil.get_terminal_size()
        room = max(size.lines - 3, 1)
        now = time.time()
        lines = list_lines(records[:room], grants[:room], now, size.columns)[:room]
        if not lines:
            lines = ["No approval: what waits for a person appears here."]
        waiting = sum(record.state == "pending" for record in records)
        clock = time.strftime("%H:%M:%S UTC", time.gmtime(now))
        status = cut(f"{clock}  {waiting} pending, {len(records)} in all, {len(grants)} standing  q: end", size.columns)
        body = "".join(f"{line}{_REST_OF_LINE}\n" for line in (status, "", *lines))
        sys.stdout.write(f"{_HOME}{body}{_REST}")
        sys.stdout.flush()
        await _pause(asked_to_stop)


async def _tell(
    approvals: Approvals, states: Collection[State], server: str, as_json: Callable[[Any], str] | None,
    asked_to_stop: asyncio.Event,
) -> None:  # fmt: skip
    known: dict[str, Record] = {}
    while not asked_to_stop.is_set():
        listed = await approvals.records(states, server=server, limit=MOST, brief=True)
        found = {one.id: one for one in reversed(listed)}
        gone = [one for one in known if one not in found]
        ended = [one for id_ in gone if (one := await _found(approvals, id_)) is not None]
        news = [one for one in (*ended, *found.values()) if _differs(known.get(one.id), one)]
        now = time.time()
        for record in sorted(news, key=lambda one: one.changed):
            if as_json is not None:
                print(as_json(document(await whole(approvals, record), now)))
            else:
                print(change_line(record, now))
        sys.stdout.flush()
        known = found
        await _pause(asked_to_stop)


async def _found(approvals: Approvals, id_: str) -> Record | None:
    try:
        return await approvals.find(id_)
    except NoApproval:  # over for so long that it was removed
        return None


def _differs(before: Record | None, now: Record) -> bool:
    return before is None or (before.state, before.answers) != (now.state, now.answers)


async def _pause(asked_to_stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(EVERY):
            await asked_to_stop.wait()
    except TimeoutError:
        return


@contextmanager
def _screen() -> Iterator[None]:
    """The other screen of the terminal, until the end, however it comes."""
    sys.stdout.write(_ENTER)
    sys.stdout.flush()
    try:
        yield
    finally:
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()


@contextmanager
def _keys(asked_to_stop: asyncio.Event) -> Iterator[None]:
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
