"""How a demo is run: in a folder of its own, with an exit status, and nothing left behind, whatever ends it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

from mcp import MCPError

from programs.checkout import MCP_OKX, SIDECAR
from programs.demo import report
from programs.demo.terminal import Screen
from sidecar.engine import binary
from sidecar.errors import StartError

DIRECT: Final = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
"""Variables by which all that is asked here is asked directly: everything is on this machine, proxies are not."""
SET_UP: Final = "run `make demo`, which sets everything up first"


def run(screen: Screen, play: Callable[[Path], Coroutine[Any, Any, list[str]]]) -> int:
    """Play a demo in a folder that is gone afterwards; the exit status.

    `play` shows everything, and returns what is not as it must be. What it starts writes its errors to `stderr.txt` in
    the folder, or one level below.
    """
    if lacking := missing():
        screen.say(lacking)
        return 1
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.default_int_handler)  # as Ctrl-C: through every `finally`
    os.environ.update(DIRECT)
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-", ignore_cleanup_errors=True) as folder:
        try:
            wrong = asyncio.run(play(Path(folder)))
        except KeyboardInterrupt:
            screen.say("\nStopped.")
            return 130
        except (MCPError, OSError, ExceptionGroup) as error:
            wrong = [f"the session broke off: {cause}" for cause in causes(error)]
        if wrong:
            fail(screen, wrong, Path(folder))
    return 1 if wrong else 0


def missing() -> str:
    """What this environment lacks for a demo, and what to do about it; empty if nothing."""
    for program in (SIDECAR, MCP_OKX):
        if not program.is_file():
            return f"no {program.name} in {program.parent}: {SET_UP}"
    try:
        binary.find(None)
    except StartError as error:
        return f"{error}\nOr {SET_UP}, OPA too."
    return ""


def fail(screen: Screen, wrong: list[str], folder: Path) -> None:
    """Show what differs, and what was written on standard error."""
    screen.say()
    for line in report.difference_lines(wrong, screen.paint):
        screen.say(line)
    for errors in sorted([*folder.glob("stderr.txt"), *folder.glob("*/stderr.txt")]):
        screen.say("\nThe last lines that the sidecar and mcp-okx wrote on standard error:")
        for line in report.tail(errors.read_text(encoding="utf-8", errors="replace")):
            screen.say(line)


def causes(error: BaseException) -> Iterator[str]:
    """What went wrong, without the groups that task groups wrap around it."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from causes(part)
    else:
        yield f"{type(error).__name__}: {error}".removesuffix(": ")


def found_in(errors: Path, pattern: str) -> str:
    """The first group of a pattern in what was written on standard error. Raises `OSError` if it is not there."""
    found = re.search(pattern, errors.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise OSError(f"nothing on standard error looks like {pattern!r}")
    return found[1]


def shown(path: Path) -> str:
    """A path as one would type it here: relative to the working directory if it is below."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
