"""`python -m programs.bench [name=command ...] [name=http:command ...]`: measure, print the table, draw the picture.

The command of a peer may hold {policy} and {state}. It holds {server}, the words that start the server on stdio; after
`http:` it holds {upstream}, the URL of the server, and {port}, where it listens with the path /mcp.
BENCH_PEERS holds more of them, parted by semicolons; BENCH_CALLS is the default of --calls.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from programs.bench.contenders import MANY_TOOLS, contenders, peers, starters, watched
from programs.bench.figures import figures
from programs.bench.large import RULES, many_tools, seconds_to_compile
from programs.bench.machine import machine
from programs.bench.memory import memory
from programs.bench.picture import draw
from programs.bench.runs import Extent, run
from programs.bench.start import starts
from programs.bench.table import memory_table, start_table, table, target_table
from programs.bench.targets import targets
from tests.support import ROOT
from tests.support.command import exit_with

PICTURE: Final = ROOT / "build" / "bench.svg"
IN_FLIGHT_FACTOR: Final = 30
"""Calls with 32 in flight for each that goes alone."""


class Size(NamedTuple):
    """How much of everything."""

    rounds: int
    calls: int
    starts: int
    remembered: int
    large: bool


def main(arguments: list[str], env: dict[str, str]) -> int:
    """The exit status: 1 when a contender failed."""
    options = _options(env).parse_args(arguments)
    try:
        others = peers([*env.get("BENCH_PEERS", "").split(";"), *options.peer])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    size = Size(5, 50, 3, 20_000, False) if options.quick else Size(options.rounds, options.calls, 9, 1_000_000, True)
    extent = Extent(size.rounds, size.calls, size.calls * IN_FLIGHT_FACTOR)
    words = (
        f"{extent.rounds} rounds, in each up to {extent.calls:,} calls one at a time and up to {extent.in_flight:,} "
        f"with 32 in flight, fewer where that would take longer than {extent.seconds:g} s."
    )
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        measured = run(contenders(others, size.large), extent, folder)
        _say("start")
        started = starts(starters(others), size.starts, folder / "starts")
        _say("memory")
        held = memory(watched(), size.remembered, folder / "memory")
        if size.large:
            seconds = seconds_to_compile(many_tools(MANY_TOOLS), folder)
            words += f" A policy of {MANY_TOOLS:,} tools with {RULES} rules each compiles in {seconds:.2f} s."
    shown = figures(measured)
    where = machine()
    print(table(measured, shown, words), memory_table(held), start_table(started), sep="\n\n")
    print("", target_table(targets(measured, held, started)), "", where, sep="\n")
    if any(shown):
        draw(measured, shown, where, options.picture)
        print(options.picture)
    failures = [*(one.failure for one in measured), *(one.failure for one in started), held.failure]
    return 1 if any(failures) else 0


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _options(env: dict[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.bench", description="Measure what the sidecar adds.")
    parser.add_argument(
        "peer",
        nargs="*",
        help="another proxy: name=command with {server}, or name=http:command with {upstream} and {port}",
    )
    parser.add_argument("--calls", type=_number, default=env.get("BENCH_CALLS", "200"), help="in each round, alone")
    parser.add_argument("--rounds", type=_number, default=15)
    parser.add_argument("--quick", action="store_true", help="little of everything: to see that it works")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes; .svg or .png")
    return parser


def _number(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:], dict(os.environ)))
