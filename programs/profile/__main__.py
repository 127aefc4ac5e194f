"""`python -m programs.profile [NAME ...]`: the sidecar's time by function, for ways whose names hold a NAME, or all."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from programs.bench.contenders import contenders
from programs.bench.errors import Failed
from programs.profile.run import profile
from programs.profile.table import NOTE, table
from tests.support.command import exit_with


def main(words: list[str]) -> int:
    """The exit status: 1 when a way failed, 2 when no way has such a name."""
    options = _parser().parse_args(words)
    ours = [one for one in contenders([]) if one.role == "sidecar"]
    wanted = [one for one in ours if not options.name or any(name in one.name for name in options.name)]
    if not wanted:
        print(f"no way has such a name; there are: {'; '.join(one.name for one in ours)}", file=sys.stderr)
        return 2
    status = 0
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        for number, contender in enumerate(wanted):
            try:
                found = profile(contender, options.calls, Path(folder, str(number)), in_flight=options.in_flight)
            except (Failed, TimeoutError) as error:
                print(f"{contender.name} failed: {error}", file=sys.stderr)
                status = 1
                continue
            print(table(found, options.top), end="\n\n", flush=True)
    print(NOTE)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m programs.profile", description="Show where the sidecar spends a call."
    )
    parser.add_argument("name", nargs="*", help="a part of a way's name, as `repeated` or `http sidecar, new`")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--top", type=int, default=20, help="functions that are shown")
    parser.add_argument("--in-flight", action="store_true", help="32 calls in flight instead of one at a time")
    return parser


if __name__ == "__main__":
    exit_with(lambda: main(sys.argv[1:]))
