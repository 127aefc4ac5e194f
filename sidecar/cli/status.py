"""`sidecar status`: the sidecars that run, what they denied, what is left of limits, and what waits for a person."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from sidecar.cli import terminal
from sidecar.cli.options import default_state_dir
from sidecar.cli.printing import say
from sidecar.cli.status_look import Place, look
from sidecar.cli.status_text import lines
from sidecar.cli.status_values import Status
from sidecar.errors import UsageError
from sidecar.text import visible

NARROWEST: Final = 40
"""Columns of a terminal below which lines are cut by the terminal itself."""
IN_A_PIPE: Final = 80


def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; with --watch a line each second.")] = False,
    watched: Annotated[bool, typer.Option("--watch", help="Stay, and look again each second. q ends it.")] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(
            envvar="SIDECAR_STATE_DIR",
            metavar="DIR",
            help="The folder that `run` was given. [default: $XDG_STATE_HOME/intercept-sidecar]",
        ),
    ] = None,
    state_dsn: Annotated[
        str | None,
        typer.Option(
            envvar="SIDECAR_STATE_DSN", metavar="redis://…", show_default=False,
            help="The Redis or Valkey that `run` keeps approvals in.",
        ),
    ] = None,
    state_prefix: Annotated[
        str,
        typer.Option(
            envvar="SIDECAR_STATE_PREFIX",
            metavar="TEXT",
            help="What keys in that store begin with.",
            show_default=False,
        ),
    ] = "",
) -> int:  # fmt: skip
    """Show the sidecars that run on this machine, and what became of calls.

    Decisions and limits are those of the sidecars that run now, by their telemetry; decisions of one without telemetry
    are read from its audit log. Where none runs, the decisions of the last day are.
    """
    if state_dsn is None and state_prefix:
        raise UsageError("--state-prefix is for the keys in --state-dsn: give both, or neither")
    place = Place(state_dir or default_state_dir(), state_dsn, state_prefix)
    try:
        asyncio.run(_watch(place, as_json=as_json) if watched else _once(place, as_json=as_json))
    except BrokenPipeError:
        # Nobody reads any more. What is still buffered must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _once(place: Place, *, as_json: bool) -> None:
    status = await look(place)
    if as_json:
        say(_json(status))
    else:
        _print(status)


async def _watch(place: Place, *, as_json: bool) -> None:
    asked_to_stop = terminal.stopped_by_signals()
    if not sys.stdout.isatty() or as_json:
        while not asked_to_stop.is_set():
            await _once(place, as_json=as_json)
            sys.stdout.flush()
            await terminal.pause(asked_to_stop)
        return
    with terminal.screen(), terminal.keys(asked_to_stop):
        while not asked_to_stop.is_set():
            status, size, now = await look(place), shutil.get_terminal_size(), time.time()
            clock = time.strftime("%H:%M:%S UTC  q: end", time.gmtime(now))
            shown = [clock, "", *lines(status, now, size.columns)]
            terminal.draw(shown[: max(size.lines - 1, 1)])
            await terminal.pause(asked_to_stop)


def _print(status: Status) -> None:
    width = max(shutil.get_terminal_size().columns, NARROWEST) if sys.stdout.isatty() else IN_A_PIPE
    say(*lines(status, time.time(), width))


def _json(status: Status) -> str:
    # What is not seen, or speaks to a terminal, stands within strings only, where an escape means the same.
    return visible(json.dumps(status.document(), ensure_ascii=False, separators=(",", ":")))
