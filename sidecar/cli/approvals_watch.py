"""`sidecar approvals list --watch`: a table that follows the store, or in a pipe a line for each change."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Callable, Collection
from typing import Any, Final

from sidecar.approvals.document import document
from sidecar.cli import terminal
from sidecar.cli.approvals_store import whole
from sidecar.cli.approvals_table import cut
from sidecar.cli.approvals_text import change_line, list_lines
from sidecar.cli.printing import say
from sidecar.ledger.approvals import Approvals, NoApproval, Record, State

MOST: Final = 1_000


async def watch(
    approvals: Approvals, states: Collection[State], server: str, as_json: Callable[[Any], str] | None
) -> None:  # fmt: skip
    """Follow approvals in these states until q, a signal or the end of the pipe. Raises `StoreUnavailable`."""
    asked_to_stop = terminal.stopped_by_signals()
    if sys.stdout.isatty() and as_json is None:
        with terminal.screen(), terminal.keys(asked_to_stop):
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
        terminal.draw([status, "", *lines])
        await terminal.pause(asked_to_stop)


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
                say(as_json(document(await whole(approvals, record), now)))
            else:
                say(change_line(record, now))
        sys.stdout.flush()
        known = found
        await terminal.pause(asked_to_stop)


async def _found(approvals: Approvals, id_: str) -> Record | None:
    try:
        return await approvals.find(id_)
    except NoApproval:  # over for so long that it was removed
        return None


def _differs(before: Record | None, now: Record) -> bool:
    return before is None or (before.state, before.answers) != (now.state, now.answers)
