"""`python -m programs.bench.opa_settings [--rounds N] [--calls N]`: what OPA's settings cost, measured side by side.

Each row is one OPA with one thing changed; all answer the same new questions in turns. Ratios are made in each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from programs.bench.contenders import contenders
from programs.bench.errors import Failed
from programs.bench.figures import percentile
from programs.bench.machine import machine
from programs.bench.opa import OURS, OpaAlone, Setting
from programs.bench.processes import resident
from programs.bench.table import aligned
from programs.bench.targets import MIB

SETTINGS: Final = (
    OURS,
    Setting("OPA's own GOMAXPROCS and GOGC", env={"GOMAXPROCS": "", "GOGC": ""}),
    Setting("OPA's own GOMAXPROCS", env={"GOMAXPROCS": ""}),
    Setting("GOGC=100, OPA's own", env={"GOGC": ""}),
    Setting("GOGC=400", env={"GOGC": "400"}),
    Setting("with the authorization policy, as in a pod", authorized=True),
    Setting("--optimize-store-for-read-speed", flags=("--optimize-store-for-read-speed",)),
    Setting("bundle built with -O1", optimize=True),
    Setting("no decision id in the request", cut=rb"X-Intercept-Decision: [^\r]*\r\n"),
    Setting("no strict-builtin-errors", cut=rb"\?strict-builtin-errors=true"),
    Setting("metrics=true in the request", query=b"&metrics=true"),
    Setting("decision log on the console", flags=("--set=decision_logs.console=true",)),
)


@dataclass(frozen=True, slots=True)
class _Round:
    """Microseconds of one question alone, answers a second with 32 in flight, CPU microseconds of OPA for each."""

    p50: float
    p99: float
    rate: float
    cpu: float


def main(arguments: Sequence[str]) -> int:
    """The exit status: 1 when a setting could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m programs.bench.opa_settings", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--calls", type=int, default=300, help="one at a time in each round, and 4 times that in flight"
    )
    options = parser.parse_args(arguments)
    (alone,) = [one for one in contenders([]) if one.role == "opa" and one.together == 1]
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, ExitStack() as stack:
        running: list[tuple[Setting, OpaAlone, list[_Round]]] = []
        try:
            for number, setting in enumerate(SETTINGS):
                opa = OpaAlone(alone, Path(folder) / str(number), setting)
                stack.callback(opa.close)
                opa.greet()
                running.append((setting, opa, []))
            for turn in range(options.rounds):
                for _, opa, rounds in [*running[turn % len(running) :], *running[: turn % len(running)]]:
                    rounds.append(_measure(opa, options.calls))
        except Failed as error:
            print(error, file=sys.stderr)
            return 1
        ours = running[0][2]
        rows = [_row(setting, rounds, ours, resident(opa.pid)) for setting, opa, rounds in running]
    print("\n".join(aligned(_HEADER, rows)))
    print(f"\n{options.rounds} rounds of {options.calls} questions alone and {4 * options.calls} with 32 in flight.")
    print("×: to `as we run it` in the same round, the median.")
    print(machine())
    return 0


def _measure(opa: OpaAlone, calls: int) -> _Round:
    opa.one_by_one(calls // 10)
    took = sorted(opa.one_by_one(calls))
    opa.in_flight(calls // 2)
    before = opa.cpu_nanoseconds()
    rate = opa.in_flight(4 * calls)
    cpu = (opa.cpu_nanoseconds() - before) / (4 * calls)
    return _Round(percentile(took, 0.5) / 1000, percentile(took, 0.99) / 1000, rate, cpu / 1000)


_HEADER = ["OPA", "p50 µs", "×", "p99 µs", "×", "answers/s", "×", "CPU µs", "×", "RSS MiB"]


def _row(setting: Setting, rounds: Sequence[_Round], ours: Sequence[_Round], memory: int) -> list[str]:
    cells = [setting.name]
    for name in ("p50", "p99", "rate", "cpu"):
        values = [getattr(one, name) for one in rounds]
        to_ours = statistics.median(value / getattr(one, name) for value, one in zip(values, ours, strict=True))
        cells += [f"{statistics.median(values):,.0f}", f"{to_ours:.2f}"]
    return [*cells, f"{memory / MIB:.0f}"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
