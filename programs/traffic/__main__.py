"""`python -m programs.traffic [--seconds N] [--wait]`: the traffic, to be looked at with tools of your own."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from programs.traffic.places import world
from programs.traffic.script import LENGTH, Script


def main() -> int:
    """Run it; the exit status."""
    options = argparse.ArgumentParser(prog="python -m programs.traffic", description=__doc__)
    options.add_argument("--seconds", type=float, default=LENGTH, help="how long the script takes (120)")
    options.add_argument(
        "--wait", action="store_true", help="wait for Enter before it begins and before everything ends"
    )
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as running:
        for place in running.places:
            print(f"{place.pod} of {place.namespace}: http://{place.telemetry}/metrics, audit below {place.state}")
        if chosen.wait:
            input("Enter begins. ")
        script = Script(running, chosen.seconds, lambda line: print(line, flush=True))
        script.run()
        for what, count in script.told.counts.most_common():
            print(f"{count:6} x {what}")
        if chosen.wait:
            input("Enter ends everything. ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
