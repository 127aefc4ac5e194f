"""How a line of the log looks, in JSON and for people: one line for a record, whatever text is in it.

Neither form has a character that fools a terminal or a reader of lines: such characters are written as `\\u202e`.
"""

from __future__ import annotations

import json
import logging
import time
import traceback
from pathlib import Path
from typing import Any, Final

from sidecar.system.operator_log import EVENT, FIELDS, state
from sidecar.text import visible

LONGEST: Final = 64 << 10
"""Characters of a message; the rest is cut."""
LONGEST_FIELD: Final = 512
FRAMES: Final = 12
"""Places of the program that are told of an error, the innermost ones."""
OTHER: Final = "library"
"""The event of what a library logs; its `logger` says which one."""

_FOR_PROGRAMS: Final = ("pid", "revision")
"""Fields that people need too seldom for them to stand in every line."""
_COLOURS: Final = {"DEBUG": "2", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_PACKAGE: Final = Path(__file__).parent.parent.parent


class JsonLines(logging.Formatter):
    """One JSON object a line: `time`, `level`, `event`, `message`, and the fields beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        event, fields = _said(record)
        line = {
            "time": _time(record), "level": record.levelname.lower(), "event": event,
            "message": _cut(record.getMessage(), LONGEST),
        }  # fmt: skip
        for name, value in fields.items():
            line.setdefault(name, _cut(value, LONGEST_FIELD) if isinstance(value, str) else value)
        # What JSON leaves as it is and is not seen stands within strings only, where an escape means the same.
        return visible(json.dumps(line, ensure_ascii=False, default=str))


class TextLines(logging.Formatter):
    """Time, level, event and message, then the fields that the message does not say; `colour` marks the level.

    A line that programs wait for has its message alone.
    """

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line for one record."""
        message = _cut(record.getMessage(), LONGEST)
        if record.name == state.name:
            return visible(message)
        event, fields = _said(record)
        said = [
            f"{name}={_written(value)}"
            for name, value in fields.items()
            if name not in _FOR_PROGRAMS and not _is_in(_text(value), message)
        ]
        level = record.levelname
        if self._colour:
            level = f"\x1b[{_COLOURS.get(level, '0')}m{level}\x1b[0m"
        return " ".join([_time(record), level, event, visible(message), *said])


def error_place(error: BaseException) -> str:
    """The kind of an error, and where in the program it was raised, the innermost place first.

    Never its text, which may hold what a caller sent.
    """
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES:]
    places = [f"{_file(frame.filename)}:{frame.lineno} {frame.name}" for frame in reversed(frames)]
    return f"{type(error).__name__} at {' < '.join(places)}" if places else type(error).__name__


def _file(path: str) -> str:
    try:
        return str(Path(path).relative_to(_PACKAGE))
    except ValueError:
        return "/".join(Path(path).parts[-2:])


def _said(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
    """The event and the fields of a record, whoever logs it."""
    event = getattr(record, EVENT, None)
    fields = dict(getattr(record, FIELDS, {}))
    if event is None:
        event, fields = OTHER, {"logger": record.name}
    if record.exc_info and record.exc_info[1] is not None:
        fields["exception"] = error_place(record.exc_info[1])
    return event, fields


def _time(record: logging.LogRecord) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _is_in(text: str, message: str) -> bool:
    """True if the message says it as a word of its own: a line 1 is said neither by a time of 10 s nor by an id a-1."""
    at = message.find(text)
    while at >= 0:
        before, after = message[at - 1 : at], message[at + len(text) : at + len(text) + 1]
        if not (before.isalnum() or after.isalnum() or (text.isdigit() and before in {"-", ".", ":"})):
            return True
        at = message.find(text, at + 1)
    return False


def _written(value: object) -> str:
    """A field's value: bare where it is one word, else as a JSON string."""
    text = _cut(_text(value), LONGEST_FIELD)
    if text and text.isascii() and text.isprintable() and not set(text) & set(' "=\\'):
        return text
    return visible(json.dumps(text, ensure_ascii=False))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]}…"
