"""The demo's words on a terminal: columns, colours, and nothing that decides. Text in, text out."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from programs.demo.exchange import Received
from programs.demo.metrics import Change
from programs.demo.outcome import requests
from programs.demo.script import Call, Step

WIDTH: Final = 80
INDENT: Final = " " * 12
_COLUMNS: Final = (15, 20, 7, 26, 4)
_COLOURS: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33"}
_VERDICTS: Final = {"allowed": "green", "refused": "yellow", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Paint:
    """Colours, or none."""

    on: bool

    @classmethod
    def for_stream(cls, stream: TextIO, env: Mapping[str, str]) -> Paint:
        """Colours for a terminal, unless NO_COLOR (https://no-color.org) is set and not empty."""
        return cls(stream.isatty() and not env.get("NO_COLOR"))

    def __call__(self, colour: str, text: str) -> str:
        return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m" if self.on else text


def heading(text: str, paint: Paint) -> str:
    """The words before a part."""
    return "\n" + paint("bold", text)


def call_header(paint: Paint) -> str:
    """The names of the columns of `call_line`."""
    return paint("dim", "  ".join(_cells(("tool", "arguments", "verdict", "answer, or rule", "ms"))))


def call_lines(call: Call, paint: Paint) -> str:
    """One call in one line; below a refusal, what the agent is told."""
    refused = call.verdict == "refused"
    answer = f"by {call.rule}" if refused else call.message
    cells = _cells((call.step.tool, arguments(call.step), call.verdict, answer, milliseconds(call.seconds)))
    cells[2] = paint(_VERDICTS[call.verdict], cells[2])
    told = [call.message, *call.advice] if refused else []
    return "\n".join(["  ".join(cells), *(paint("dim", INDENT + cut(line, WIDTH - len(INDENT))) for line in told)])


def arguments(step: Step) -> str:
    """What a person wants to know of a call's arguments."""
    given = step.arguments
    match step.tool:
        case "place_order":
            return f"{given['sz']} {given['instId']} at {given.get('px', 'market')}"
        case "cancel_order":
            return given["ordId"]
        case _:
            return " ".join(given.values())


def _cells(texts: Sequence[str]) -> list[str]:
    cells = [cut(text, width).ljust(width) for text, width in zip(texts, _COLUMNS, strict=True)]
    cells[-1] = cells[-1].strip().rjust(_COLUMNS[-1])
    return cells


def cut(text: str, width: int) -> str:
    """A text in one line of at most `width` characters; what is left out shows as `..`."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 2] + ".."


def milliseconds(seconds: float) -> str:
    """A time in four characters, as long as it is below ten seconds."""
    time = seconds * 1000
    return f"{time:.1f}" if time < 99.95 else f"{time:.0f}"


def tool_lines(tools: Sequence[str]) -> str:
    """The names of the tools, wrapped."""
    return textwrap.fill(", ".join(tools), WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)


def request_lines(received: Iterable[Received]) -> list[str]:
    """How often the exchange was asked what."""
    return [f"  {times:>2} x  {method:4} {path}" for (method, path), times in requests(received).items()]


def change_lines(changes: Sequence[Change]) -> list[str]:
    """Metric lines with their values before and after, in a column."""
    width = max(len(str(change.line)) for change in changes)
    return [f"  {change.line!s:{width}}  {change.before:>2g} -> {change.after:g}" for change in changes]


def difference_lines(differences: Sequence[str], paint: Paint) -> list[str]:
    """What is not as it must be."""
    return [paint("red", "Not as it must be:"), *(f"  - {difference}" for difference in differences)]


def tail(text: str, lines: int = 20) -> list[str]:
    """The last lines of a text, indented."""
    return [f"  | {line}" for line in text.splitlines()[-lines:]]
