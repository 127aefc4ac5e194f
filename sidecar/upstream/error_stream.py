"""What a server's program writes to its error stream, as lines of our log.

It is always read, so that the program never waits for us. Of a program that floods it a part is logged, and the rest
is counted. Its last lines are kept: where it ends without a word on its output, they say why.
"""

from __future__ import annotations

import logging
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Final

from sidecar.system.lines import LineReader, TooLong
from sidecar.system.operator_log import fields, log
from sidecar.system.sparing import Sparing
from sidecar.text import visible

LONGEST: Final = 4096
"""Bytes of a line that is logged; of a longer one its beginning is."""
MOST: Final = 1000
"""Lines that are logged in a minute."""
LAST: Final = 10
"""Lines that are kept for the end."""
TAIL: Final = 8 << 10
"""Bytes that are kept for the end of what is not logged."""

_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


def sparing(clock: Callable[[], float] = time.monotonic) -> Sparing:
    """What bounds the lines of all programs of one server: each session may have one. `clock` gives seconds."""
    return Sparing(
        "server_stderr", "lines of the MCP server's error stream were not shown",
        "lines of the MCP server's error stream are not shown", most=MOST, level=logging.INFO, clock=clock,
    )  # fmt: skip


class ErrorStream:
    """The error stream of the program `pid`, of whose lines as many are logged as `admitted` says."""

    def __init__(self, pid: int, admitted: Sparing) -> None:
        self._pid = pid
        self._lines = LineReader(LONGEST)
        self._last: deque[tuple[str, bool]] = deque(maxlen=LAST)
        """Lines, and whether they were logged."""
        self._tail = b""
        """The end of what came since nothing is logged any more."""
        self._sparing = admitted

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        if self._sparing.is_spent:
            # Only counted: a program that floods it must cost as little as can be.
            self._sparing.leave_out(data.count(b"\n"))
            self._tail = (self._tail + data)[-TAIL:] if len(data) < TAIL else data[-TAIL:]
            return
        self._untail()
        for line in self._lines.feed(data):
            self._line(line)

    def finish(self) -> list[str]:
        """No more comes: the last lines, as far as nobody saw them yet."""
        self._untail()
        for line in self._lines.finish():
            self._line(line)
        self._sparing.settle()
        return [line for line, is_logged in self._last if not is_logged]

    def _untail(self) -> None:
        """Keep the last lines of what was only counted, and hold the one that has not ended."""
        if self._tail:
            self._lines = LineReader(LONGEST)
            for line in self._lines.feed(self._tail):
                self._last.append((_text(line), False))
            self._tail = b""

    def _line(self, line: bytes | TooLong) -> None:
        is_logged = log.isEnabledFor(logging.INFO) and self._sparing.admits()
        if is_logged:
            log.info("server: %s", _text(line), extra=fields("server_stderr", pid=self._pid))
        self._last.append((_text(line), is_logged))


def _text(line: bytes | TooLong) -> str:
    data, more = (line.head, "…") if isinstance(line, TooLong) else (line, "")
    return visible(_COLOURS.sub("", data.decode("utf-8", "replace").rstrip())) + more
