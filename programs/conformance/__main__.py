"""Runs the suite against the server with every feature, directly and through the sidecar, which is to allow everything.

The exit status is 0 when every check has the same verdict both ways, else 1.
"""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

from programs.conformance.compare import Check, compare, score
from programs.conformance.run import REQUIREMENTS, Failed, run
from programs.conformance.table import last_line, reasons, table
from tests.support.listener import ALLOW_ALL, Listener, everything, sidecar

say = functools.partial(print, flush=True)


def main() -> int:
    """Run it in a folder of its own, which is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="sidecar-conformance-", ignore_cleanup_errors=True) as folder:
        try:
            direct, through = both(Path(folder))
        except (Failed, RuntimeError, TimeoutError) as error:
            say(f"It cannot be compared: {error}")
            return 1
    pairs = compare(direct, through)
    say(table(pairs))
    if differing := [pair for pair in pairs if pair.differs]:
        say(f"\n{len(differing)} checks differ:\n{reasons(differing)}")
    say(f"\n{last_line(score(direct), score(through))}")
    return 1 if differing else 0


def both(folder: Path) -> tuple[tuple[Check, ...], tuple[Check, ...]]:
    """The checks directly and through the sidecar. Raises where something does not start or does not end."""
    with Listener(everything("http"), folder) as server:
        direct = all_of(server.url, folder / "direct")
        say(f"directly at {server.url}: {score(direct)}")
        front = sidecar(
            folder / "sidecar", ALLOW_ALL,
            "--transport", "http", "--bind", "127.0.0.1", "--port", "0", "--upstream", server.url,
        )  # fmt: skip
        with Listener(front, folder, says="ready\n") as proxy:
            through = all_of(proxy.url, folder / "through")
            say(f"through the sidecar at {proxy.url}: {score(through)}")
    return direct, through


def all_of(url: str, folder: Path) -> tuple[Check, ...]:
    """The checks of every set of requirements."""
    return tuple(check for name in REQUIREMENTS for check in run(url, name, folder / name))


if __name__ == "__main__":
    sys.exit(main())
