"""How lines of the log look: one line a record, with the event and fields of its own, whatever is in them."""

from __future__ import annotations

import ast
import json
import logging
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sidecar
from sidecar.observe.log.lines import JsonLines, TextLines, error_place
from sidecar.system.operator_log import Value, fields
from sidecar.text import is_plain

SOURCES = sorted(Path(sidecar.__file__).parent.rglob("*.py"))
SNAKE = re.compile(r"[a-z]+(_[a-z]+)*")
values = st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


def record(message: str, /, *, name: str = "sidecar", event: str = "it_happened", **said: Value) -> logging.LogRecord:
    """A record of the first second of 1970."""
    made = logging.LogRecord(name, logging.WARNING, "x.py", 1, "%s", (message,), None)
    made.created = 0
    vars(made).update(fields(event, **said))
    return made


def test_a_json_line_has_its_fields_as_members() -> None:
    line = json.loads(JsonLines().format(record("gone\n", cause="refused", status=502, rule="", tool=None)))
    assert line == {
        "time": "1970-01-01T00:00:00Z", "level": "warning", "event": "it_happened", "message": "gone\n",
        "cause": "refused", "status": 502,
    }  # fmt: skip


def test_a_text_line_says_the_fields_that_its_message_does_not() -> None:
    line = TextLines().format(
        record("the call of t was lost [i-7]", tool="t", decision_id="i-7", cause="re set", status=5)
    )
    assert line == '1970-01-01T00:00:00Z WARNING it_happened the call of t was lost [i-7] cause="re set" status=5'


def test_a_number_within_another_one_does_not_say_it() -> None:
    assert TextLines().format(record("after 10 s [a-1]", status=1)).endswith("after 10 s [a-1] status=1")
    assert TextLines().format(record("status 1: no", status=1)).endswith("status 1: no")


def test_a_terminal_gets_the_level_in_colour() -> None:
    assert "\x1b[33mWARNING\x1b[0m" in TextLines(colour=True).format(record("gone"))


def test_a_line_that_programs_wait_for_is_alone_in_text() -> None:
    waited_for = record("ready", name="sidecar.state", event="ready")
    assert TextLines().format(waited_for) == "ready"
    assert json.loads(JsonLines().format(waited_for))["event"] == "ready"


def test_a_line_of_a_library_names_it() -> None:
    of_library = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, "slow", (), None)
    assert json.loads(JsonLines().format(of_library))["logger"] == "asyncio"
    assert TextLines().format(of_library).endswith("ERROR library slow logger=asyncio")


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z]{3,12}", fullmatch=True), values, max_size=4))
def test_a_record_is_one_line_that_fools_nobody_whatever_it_says(message: str, said: dict[str, Value]) -> None:
    made = record(message)
    vars(made).update(fields("it_happened", **said))
    for line in (JsonLines().format(made), TextLines().format(made)):
        assert is_plain(line)
        assert len(line.splitlines()) == 1
    read = json.loads(JsonLines().format(made))
    assert read["message"] == message
    assert read["event"] == "it_happened"


def test_no_field_takes_the_place_of_time_level_event_or_message() -> None:
    made = record("gone")
    vars(made)["fields"].update(dict.fromkeys(("time", "level", "event", "message"), "x"))
    read = json.loads(JsonLines().format(made))
    assert [read[name] for name in ("time", "level", "event", "message")] == [
        "1970-01-01T00:00:00Z", "warning", "it_happened", "gone",
    ]  # fmt: skip


def test_of_an_error_the_place_is_told_and_not_what_it_says() -> None:
    try:
        int("4929-secret-value")
    except ValueError as error:
        made = logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, "broke", (), (ValueError, error, None))
        place = error_place(error)
    assert re.fullmatch(r"ValueError at observe/test_log_lines\.py:\d+ test_of_an_error\w+", place)
    for line in (JsonLines().format(made), TextLines().format(made)):
        assert "4929" not in line
        assert "ValueError" in line


def calls_of_the_log() -> list[tuple[str, ast.Call]]:
    """Every call that writes a line, and where it stands."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("log" | "state"), attr=level)) if level in (
                    "debug", "info", "warning", "error", "critical", "exception", "log",
                ):  # fmt: skip
                    found.append((f"{path.name}:{node.lineno}", node))
    return found


@pytest.mark.parametrize(("where", "call"), calls_of_the_log(), ids=lambda it: it if isinstance(it, str) else "")
def test_every_line_names_its_event_and_carries_fields(where: str, call: ast.Call) -> None:
    extras = [keyword.value for keyword in call.keywords if keyword.arg == "extra"]
    assert len(extras) == 1, f"{where}: write extra=fields(EVENT, …)"
    match extras[0]:
        case ast.Call(func=ast.Name("fields"), args=[ast.Constant(str(event))]):
            assert SNAKE.fullmatch(event)
        case ast.Call(
            func=ast.Name("fields"), args=[ast.IfExp(body=ast.Constant(str(one)), orelse=ast.Constant(str(other)))]
        ):
            assert SNAKE.fullmatch(f"{one}_{other}")
        case _:  # a helper, or the event of a `Sparing`
            assert where.startswith(("approvals.py", "sparing.py", "unblocked.py"))
