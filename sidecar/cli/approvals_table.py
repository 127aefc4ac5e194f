"""Text of agents as a terminal may show it: arguments as rows, tables, lines that fit. Text in, text out; no store.

Whatever stands in an argument, it stays within its own place on the screen: no control character passes, no line is
wider than the terminal, so that nothing an agent wrote begins a line, and what looks like nothing is written out.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

from sidecar.approvals.page import rows
from sidecar.text import is_odd_blank, visible

Row: TypeAlias = tuple[str, str]
"""A path into arguments, without their name in front, and the value as JSON."""

MASKED: Final = "masked by the policy: not shown to approvers"

LONGEST_PATH: Final = 32
"""Columns of paths beside values; after a longer one the value begins on the next line."""

_MOST_MARKS: Final = 2
"""Combining marks on one letter that are shown as they are: a pile of them covers the lines around it."""


def safe(text: str) -> str:
    """The text with all that a terminal or a reader could be fooled by written as JSON escapes (`\\u202e`)."""
    text = visible(text)
    if text.isascii():
        return text
    characters = set(text)
    # visible() leaves them, being neither invisible nor a control.
    odd = {ord(char): _escaped(char) for char in characters if is_odd_blank(char)}
    text = text.translate(odd)
    return _without_piles(text) if any(map(_is_mark, characters)) else text


def _without_piles(text: str) -> str:
    shown, marks = [], 0
    for char in text:
        marks = marks + 1 if _is_mark(char) else 0
        shown.append(_escaped(char) if marks > _MOST_MARKS else char)
    return "".join(shown)


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1]


def rows_of(arguments: str, masked: Sequence[str] = ()) -> list[Row]:
    """Every value in a JSON text, with its path, in the order in which they stand there.

    `masked` are paths as policies write them; what was replaced there is named as masked.
    """
    return [(safe(row.path), _value(row)) for row in rows.rows_of(arguments, tuple(masked))]


def lines_of(found: Sequence[Row], width: int | None) -> list[str]:
    """Rows as aligned lines of at most `width` columns (None: however long), with nothing cut."""
    most = LONGEST_PATH if width is None else min(LONGEST_PATH, width // 2)
    longest = max((columns(path) for path, _ in found if columns(path) <= most), default=0)
    lines: list[str] = []
    for path, value in found:
        if columns(path) > longest:
            lines += _folded(path, width)
            path = ""  # noqa: PLW2901 - it stands on a line of its own
        begin = path + " " * (longest - columns(path)) + "  "
        rest = None if width is None else max(width - longest - 2, 2)
        first, *more = _folded(value, rest)
        lines.append(begin + first)
        lines += [" " * (longest + 2) + line for line in more]
    return lines


def sentence(text: str, width: int | None) -> list[str]:
    """A text of ours as lines, broken at blanks; all but the first are set in, for the sake of what it quotes."""
    if width is None or columns(text) <= width:
        return [text]
    lines: list[str] = []
    for word in text.split(" "):
        for piece in _pieces(word, max(width - 2, 2)):
            if lines and columns(lines[-1]) + 1 + columns(piece) <= width:
                lines[-1] += f" {piece}"
            else:
                lines.append(f"  {piece}" if lines else piece)
    return lines


def table(cells: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Rows with each column as wide as its widest text; with `width` the last column is cut to fit."""
    widths = [max(map(columns, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [text + " " * (wide - columns(text)) for text, wide in zip(row, widths, strict=True)]
        line = "  ".join(padded).rstrip()
        lines.append(line if width is None else cut(line, width))
    return lines


def columns(text: str) -> int:
    """The most columns that any terminal takes for a text."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns; what is left out shows as `…`."""
    if columns(text) <= width:
        return text
    return next(_pieces(text, max(width - 2, 1))) + "…"


def _value(row: rows.Row) -> str:
    if row.masked:
        return MASKED
    return safe(json.dumps(row.text, ensure_ascii=False) if row.kind == "text" else row.text)


def _folded(text: str, width: int | None) -> list[str]:
    return [text] if width is None or columns(text) <= width else list(_pieces(text, width))


def _pieces(text: str, width: int) -> Iterator[str]:
    """The text in pieces of at most `width` columns, and at least one character."""
    begin = used = 0
    for at, char in enumerate(text):
        wide = _columns(char)
        if used + wide > width and at > begin:
            yield text[begin:at]
            begin, used = at, 0
        used += wide
    yield text[begin:]


def _columns(char: str) -> int:
    """Columns of a character; 2 wherever some terminal could take two."""
    if char.isascii():
        return 1
    return 1 if unicodedata.east_asian_width(char) in "NH" and unicodedata.category(char)[0] in "LM" else 2
