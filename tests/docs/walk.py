"""Goes through a document as its reader does: each command as it stands there, and what it says that is then seen.

A block `sh` is run; one whose last line starts a sidecar is left running, in the reader's first terminal. A block
`text` is what the commands before it print, or what has come in the first terminal since. `…` stands for whatever
differs each time, a whole line of it for any lines, and two blanks for any number more.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.support.document_commands import environment
from tests.support.peer import SECONDS
from tests.support.signals import with_default_signals

LONGEST: Final = 8 * SECONDS
"""Seconds for the commands of one block."""


def blocks(text: str) -> list[tuple[str, str]]:
    """The kind of each block that a reader runs or compares, and what stands in it."""
    return re.findall(r"^```(sh|text)\n(.*?)^```$", text, re.M | re.S)


def pattern(shown: str) -> str:
    """The expression for a text as a document shows it."""
    lines = (r"(?:[^\n]*\n)*?[^\n]*" if line == "…" else _line(line) for line in shown.strip().splitlines())
    return r"[ \t]*\n".join(lines)


def _line(line: str) -> str:
    exact = (re.escape(part) for part in line.rstrip().split("…"))
    # A column is as wide as what stands in it.
    return re.sub(r"(\\ ){2,}", " {2,}", "[^\n]*".join(exact))


def _stays(block: str) -> bool:
    """True for commands the last of which is a sidecar that its reader leaves running."""
    last = block.rstrip().splitlines()[-1]
    return last.startswith("sidecar run") and " < " not in last


class Walk:
    """A reader at work in a folder. `exchanged` are texts of the document that are others on this machine."""

    def __init__(
        self, folder: Path, programs: Path, exchanged: Sequence[tuple[str, str]] = (), serving: Mapping[str, str] = {}
    ) -> None:
        self._folder = folder
        self._exchanged = exchanged
        self._shell = folder.parent / "shell"
        self._log = folder.parent / "first-terminal.txt"
        self._log.touch()
        self._seen = 0
        self._first: subprocess.Popen[bytes] | None = None
        self._environment = environment(folder.parent, programs) | {"HOME": str(folder.parent)}
        self._serving = {**self._environment, **serving}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._first is not None:
            # As Ctrl-C does: the shell and all that it started hear of it.
            with suppress(ProcessLookupError):
                os.killpg(self._first.pid, signal.SIGINT)
            self._first.wait(2 * SECONDS)

    def go(self, text: str) -> None:
        """Go through a document. Raises `AssertionError` at the first thing that is not as it says."""
        printed = ""
        for kind, block in blocks(text):
            here = self._here(block)
            if kind == "text":
                self.compare(here, printed)
            elif _stays(here):
                printed = ""
                self._serve(here)
            else:
                printed = self.run(here)

    def run(self, block: str) -> str:
        """Run a block in the second terminal, where what was set before still holds; what it prints."""
        self._shell.touch()
        begin = f". {self._shell}\nset -a\n" + ("" if "# ends with" in block else "set -e\n")
        end = f'trap \'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {self._shell}\' EXIT\n'
        done = subprocess.run(
            ["bash", "-c", begin + end + block], cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LONGEST, check=False,
        )  # fmt: skip
        said = re.search(r"# ends with (\d+)", block)
        assert done.returncode == int(said[1] if said else 0), f"{block}\nended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def compare(self, shown: str, printed: str) -> None:
        """Compare what the document shows with what was printed, or comes in the first terminal."""
        if re.fullmatch(pattern(shown), re.sub(r"[ \t]+$", "", printed, flags=re.M).strip()):
            return
        until = time.monotonic() + 4 * SECONDS
        while True:
            log = self._log.read_text()
            if found := re.search(rf"^{pattern(shown)}$", log[self._seen :], re.M):
                self._seen += found.end()
                return
            assert time.monotonic() < until, f"not seen:\n{shown}\nprinted:\n{printed}\nfirst terminal:\n{log}"
            time.sleep(0.02)

    def _serve(self, block: str) -> None:
        assert self._first is None, "the first terminal is taken"
        with self._log.open("wb") as log:
            self._first = subprocess.Popen(
                with_default_signals(["bash", "-c", f"set -e\n{block}"]), cwd=self._folder, env=self._serving,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _here(self, block: str) -> str:
        for shown, real in self._exchanged:
            block = block.replace(shown, real)
        return block
