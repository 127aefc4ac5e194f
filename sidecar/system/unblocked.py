"""Log lines to standard error, never waiting for whoever reads it: a reader that is stuck must not hold up calls.

Lines that are not taken at once wait, within bounds, and a thread writes them. What has no room any more is counted,
and the number is a line of its own once lines are taken again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import socket
import stat
import threading
from collections import deque
from typing import Final, TextIO

from sidecar.system.operator_log import fields, log

WAITING: Final = 1 << 20
"""Bytes that may wait."""
AT_THE_END: Final = 500
"""Milliseconds that what waits has to be taken when we end."""


def handler_to(stream: TextIO) -> logging.Handler:
    """A handler that writes to a standard stream."""
    try:
        return UnblockedHandler(stream.fileno())
    except OSError:  # it has no file, as in some tests
        return logging.StreamHandler(stream)


class UnblockedHandler(logging.Handler):
    """Writes each record as a line to a descriptor."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._is_own = self._may_block = False
        self._socket: socket.socket | None = None
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._left_out = 0
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(kind):
            self._socket = socket.socket(fileno=os.dup(descriptor))
        elif stat.S_ISFIFO(kind) or stat.S_ISCHR(kind):
            # Opened anew, so that it stays blocking for everybody else who has it. A file always takes what is written.
            self._may_block = True  # another user's pipe, as containers have, cannot be opened
            with contextlib.suppress(OSError):
                self._descriptor = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
                self._is_own, self._may_block = True, False

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or let it wait."""
        try:
            line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a line that cannot be made must not end what it tells of
            self.handleError(record)
            return
        if not self._waiting:
            line = line[self._taken(line) :]
            if line:
                self._wait(line)
                threading.Thread(target=self._write_on, name="log", daemon=True).start()
        elif self._size + len(line) > WAITING:
            self._left_out += 1
        else:
            self._wait(line)

    def flush(self) -> None:
        """Give what waits a moment to be taken."""
        with self._held():
            while self._waiting and self._is_ready(AT_THE_END):
                self._write_some()

    def close(self) -> None:
        """Let go of what was opened here."""
        with self._held():
            if self._socket is not None:
                self._socket.close()
            elif self._is_own:
                os.close(self._descriptor)
            self._is_own = False
        super().close()

    def _wait(self, line: bytes) -> None:
        self._waiting.append(line)
        self._size += len(line)

    def _write_on(self) -> None:
        while True:
            self._is_ready(-1)
            with self._held():
                self._write_some()
                if not self._waiting:
                    return

    def _write_some(self) -> None:
        while self._waiting:
            line = self._waiting[0]
            taken = self._taken(line)
            self._size -= taken
            if taken < len(line):
                self._waiting[0] = line[taken:]
                return
            self._waiting.popleft()
            if not self._waiting and self._left_out:
                self._wait(self._missing())

    def _missing(self) -> bytes:
        count, self._left_out = self._left_out, 0
        text = "%d lines of the log are missing here: nobody took them"
        extra = fields("log_lines_lost", left_out=count)
        record = log.makeRecord(log.name, logging.WARNING, "", 0, text, (count,), None, extra=extra)
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _taken(self, data: bytes) -> int:
        """How many bytes were written; all of them where nobody will ever take any."""
        if self._may_block:
            if not self._is_ready(0):
                return 0
            data = data[: select.PIPE_BUF]  # so much is taken by whatever is ready
        try:
            if self._socket is not None:
                return self._socket.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)

    def _is_ready(self, milliseconds: int) -> bool:
        """Wait until something can be written."""
        poll = select.poll()
        poll.register(self._socket if self._socket is not None else self._descriptor, select.POLLOUT)
        return bool(poll.poll(milliseconds))

    def _held(self) -> contextlib.AbstractContextManager[object]:
        assert self.lock is not None
        return self.lock
