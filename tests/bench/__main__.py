"""`python -m tests.bench [name=command ...] [name=http:command ...]`: measure, print the table, draw the picture.

The command of a peer may hold {policy} and {state}. It holds {server}, the words that start the server on stdio; after
`http:` it holds {upstream}, the URL of the server, and {port}, where it listens with the path /mcp.
BENCH_PEERS holds more of them, parted by semicolons; BENCH_CALLS is the default of --calls.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.bench.contenders import ONE_RULE, contenders, peers
from tests.bench.figures import figures
from tests.bench.large import RULES, TOOLS, large_policy, seconds_to_compile
from tests.bench.machine import machine
from tests.bench.picture import draw
from tests.bench.runs import Extent, run
from tests.bench.table import table
from tests.support import ROOT

PICTURE: Final = ROOT / "build" / "bench.svg"
IN_FLIGHT_FACTOR: Final = 3
"""Calls with 32 in flight for each that goes alone."""


def main(arguments: list[str], env: dict[str, str]) -> int:
    """The exit status: 1 when a contender failed."""
    options = _options(env).parse_args(arguments)
    try:
        others = peers([*env.get("BENCH_PEERS", "").split(";"), *options.peer])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    rounds, calls = (5, 100) if options.quick else (options.rounds, options.calls)
    extent = Extent(rounds, calls, calls * IN_FLIGHT_FACTOR)
    words = f"{rounds} rounds, in each {calls:,} calls one at a time and {extent.in_flight:,} with 32 in flight."
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        large = not options.quick
        measured = run(contenders(others, large), extent, Path(folder))
        if large:
            seconds = seconds_to_compile(large_policy(ONE_RULE), Path(folder))
            words += f" A policy of {TOOLS:,} tools with {RULES} rules each compiles in {seconds:.2f} s."
    shown = figures(measured)
    where = machine()
    print(table(measured, shown, f"{words}\n{where}"))
    if any(shown):
        draw(measured, shown, where, options.picture)
        print(options.picture)
    return 1 if any(one.failure for one in measured) else 0


def _options(env: dict[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what the sidecar adds.")
    parser.add_argument(
        "peer",
        nargs="*",
        help="another proxy: name=command with {server}, or name=http:command with {upstream} and {port}",
    )
    parser.add_argument("--calls", type=_number, default=env.get("BENCH_CALLS", "500"), help="in each round, alone")
    parser.add_argument("--rounds", type=_number, default=5)
    parser.add_argument("--quick", action="store_true", help="5 rounds of 100 calls: to see that it works")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where the picture goes; .svg or .png")
    return parser


def _number(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


def _stop(number: int, frame: object) -> None:
    sys.exit(128 + number)  # through every `finally`, so that nothing keeps running


if __name__ == "__main__":
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _stop)
    try:
        sys.exit(main(sys.argv[1:], dict(os.environ)))
    except KeyboardInterrupt:
        sys.exit(130)
