"""A command on a real terminal: what it draws there, and what is typed to it. Every wait is bounded."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tests.support.peer import SECONDS

OURS = re.compile(r"\x1b\[(\?1049[hl]|\?25[hl]|H|K|J)")
"""All that we may say to a terminal beside text."""


class Terminal:
    """A terminal of `columns` times `lines` with what a command draws on it."""

    def __init__(self, command: Sequence[str], columns: int, lines: int) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True,
            # So that Ctrl-C is a signal to it; no thread runs here.
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )  # fmt: skip
        self.seen = ""

    def until(self, shows: Callable[[str], bool], what: str) -> str:
        """The newest frame, once it is as it must be."""
        deadline = time.monotonic() + SECONDS
        while not shows(frame := self.frame):
            left = deadline - time.monotonic()
            assert left > 0, f"never saw {what} in {frame!r}"
            if select.select([self._master], [], [], left)[0] and not self._read():
                raise AssertionError(f"it ended before {what} in {self.seen!r}")
        return frame

    @property
    def frame(self) -> str:
        """What was drawn last, as a whole, without what places it."""
        drawn = self.seen.split("\x1b[H")[1:]
        whole = [one for one in drawn if "\x1b[J" in one]
        return OURS.sub("", whole[-1].partition("\x1b[J")[0]).replace("\r\n", "\n") if whole else ""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def end(self) -> int:
        """The exit status, once it ended by itself."""
        status = self.process.wait(SECONDS)
        while select.select([self._master], [], [], 0)[0] and self._read():
            pass
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(SECONDS)
        os.close(self._master)
        os.close(self.slave)

    def _read(self) -> bool:
        data = os.read(self._master, 65536)
        self.seen += data.decode()
        return bool(data)


@contextmanager
def shown_on_terminal(command: Sequence[str], columns: int = 120, lines: int = 24) -> Iterator[Terminal]:
    """Run a command on a terminal for the length of a `with`."""
    shown = Terminal(command, columns, lines)
    try:
        yield shown
    finally:
        shown.close()
