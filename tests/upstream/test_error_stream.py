"""A program's error stream as lines of the log: all of it is read, and what matters is seen."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.system.sparing import PERIOD
from sidecar.text import is_plain
from sidecar.upstream.error_stream import LAST, LONGEST, MOST, ErrorStream, sparing


def test_each_line_is_one_line_of_the_log_however_it_comes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    stream = ErrorStream(7, sparing())
    for part in (b"\x1b[32mready\x1b[0m on st", b"dio\r\n\nsec", b"ond\n\x1b[2Jodd\xff", b""):
        stream.feed(part)
    assert stream.finish() == []
    assert caplog.messages == ["server: ready on stdio", "server: second", "server: \\u001b[2Jodd\ufffd"]
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_long_line_is_cut(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    stream = ErrorStream(7, sparing())
    stream.feed(b"x" * (10 * LONGEST) + b"\nshort\n")
    assert caplog.messages[0].endswith("x…")
    assert len(caplog.messages[0]) <= LONGEST
    assert caplog.messages[1] == "server: short"


def test_what_is_not_shown_is_there_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "sidecar")
    stream = ErrorStream(7, sparing())
    stream.feed(b"".join(b"line %d\n" % number for number in range(100)) + b"cannot find module")
    assert stream.finish() == [*(f"line {number}" for number in range(101 - LAST, 100)), "cannot find module"]
    assert caplog.messages == []


def test_of_a_flood_a_part_is_logged_the_rest_counted_and_the_last_lines_kept(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    now = [0.0]
    stream = ErrorStream(7, sparing(lambda: now[0]))
    for number in range(10 * MOST):
        stream.feed(b"line %d\n" % number)
    assert len(caplog.messages) == MOST + 1
    now[0] = PERIOD
    stream.feed(b"calm\n")
    assert caplog.messages[MOST + 1 :] == [
        f"{9 * MOST} more lines of the MCP server's error stream were not shown", "server: calm",
    ]  # fmt: skip
    for _ in range(3 * MOST):
        stream.feed(b"again\n")
    stream.feed(b"the reason\n")
    assert stream.finish()[-1] == "the reason"
    assert caplog.messages[-1].endswith("more lines of the MCP server's error stream were not shown")


def test_programs_of_one_server_have_one_bound_however_many_are_started(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    bound = sparing(lambda: 0.0)
    for pid in range(5):
        stream = ErrorStream(pid, bound)
        stream.feed(b"line\n" * MOST)
        stream.finish()
    assert caplog.messages.count("server: line") == MOST
    assert len(caplog.messages) <= MOST + 10


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=200) | st.just(b"z" * 5000), max_size=30))
def test_whatever_a_program_writes_fools_nobody(caplog: pytest.LogCaptureFixture, parts: list[bytes]) -> None:
    caplog.set_level(logging.INFO, "sidecar")
    caplog.clear()
    stream = ErrorStream(7, sparing())
    for part in parts:
        stream.feed(part)
    assert stream.finish() == []
    assert all(map(is_plain, caplog.messages))
    assert sum(map(len, caplog.messages)) <= 10 * sum(map(len, parts)) + 10
