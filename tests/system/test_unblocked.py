"""Lines of the log go out, and whoever does not read them holds up nobody."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from sidecar.system.operator_log import fields
from sidecar.system.unblocked import WAITING, UnblockedHandler

COUNT = 3 * WAITING // 1000


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


@contextmanager
def pair() -> Iterator[tuple[int, int]]:
    reading, writing = socket.socketpair()
    with reading, writing:
        yield reading.fileno(), writing.fileno()


@contextmanager
def foreign() -> Iterator[tuple[int, int]]:
    """A pipe of another user, as containers have: it cannot be opened anew."""

    def refused(*_: object) -> int:
        raise PermissionError

    with pipe() as ends, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidecar.system.unblocked.os.open", refused)
        yield ends


@contextmanager
def handler_on(writing: int) -> Iterator[UnblockedHandler]:
    handler = UnblockedHandler(writing)
    try:
        yield handler
    finally:
        handler.close()


def tell(handler: logging.Handler, message: str, times: int = 1) -> None:
    made = logging.LogRecord("sidecar", logging.INFO, "x.py", 1, message, (), None)
    vars(made).update(fields("told"))
    for _ in range(times):
        handler.handle(made)


def read_until(reading: int, end: bytes) -> bytes:
    """What comes, up to and with `end`."""
    data = b""
    while not data.endswith(end):
        part = os.read(reading, 1 << 16)
        assert part
        data += part
    return data


@pytest.mark.parametrize("kind", [pipe, pair, foreign])
def test_lines_come_out_in_their_order(kind: Callable[[], AbstractContextManager[tuple[int, int]]]) -> None:
    with kind() as (reading, writing), handler_on(writing) as handler:
        for number in range(10):
            tell(handler, f"line {number}")
        assert read_until(reading, b"line 9\n") == b"".join(b"line %d\n" % number for number in range(10))


@pytest.mark.parametrize("kind", [pipe, pair, foreign])
def test_a_reader_that_is_stuck_holds_up_nobody_and_hears_how_many_lines_are_missing(
    kind: Callable[[], AbstractContextManager[tuple[int, int]]],
) -> None:
    line = "x" * 1000
    with kind() as (reading, writing), handler_on(writing) as handler:
        telling = threading.Thread(target=tell, args=(handler, line, COUNT), daemon=True)
        telling.start()
        telling.join(30)
        assert not telling.is_alive()
        data = read_until(reading, b"nobody took them\n")
        *taken, missing, _ = data.split(b"\n")
        assert set(taken) == {line.encode()}
        assert len(taken) + int(missing.split()[0]) == COUNT
        tell(handler, "and on")
        assert read_until(reading, b"\n") == b"and on\n"


def test_where_nobody_reads_any_more_lines_are_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with handler_on(writing) as handler:
        tell(handler, "nobody hears this")
    os.close(writing)


def test_the_descriptor_stays_blocking_for_others() -> None:
    with pipe() as (_, writing), handler_on(writing):
        assert os.get_blocking(writing)
