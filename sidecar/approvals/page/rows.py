"""A JSON document as rows of a table, one for each value in it: nothing is left out, and numbers stay as written.

Every row has its whole path, so a document with a long key around many values would make a table far greater than it
is itself. One with too many rows, or too long paths, is a single row: its own JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sidecar.enforce.masking import MASK
from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded

LONG: Final = 400
"""Characters of a text that are shown at once; a longer one is folded."""

MAX_ROWS: Final = 5_000
"""Rows of one document."""
MAX_PATHS: Final = 1 << 18
"""Characters of all paths in one document, those of lists and objects included."""
WHOLE: Final = "(all, as JSON)"
"""The path of a row that is a whole document. No key is written so: with blanks it would stand in quotes."""

Kind: TypeAlias = Literal["text", "number", "truth", "null", "list", "object"]


class Row(msgspec.Struct, frozen=True):
    """One value: where it stands (`a.b[0]`), what kind it is, and how it is written; a text without its quotes.

    A list or an object is a row only where it is empty, or where a row is one of a whole argument. `masked` where the
    policy keeps the value from who approves.
    """

    path: str
    kind: Kind
    text: str
    masked: bool = False

    @property
    def is_long(self) -> bool:
        """True for a value that is folded."""
        return len(self.text) > LONG


def rows_of(text: str, masked: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a JSON document; `masked` are paths as policies write them (`args.a.b`)."""
    return first_rows(text, masked, MAX_ROWS)[0]


def first_rows(text: str, masked: tuple[str, ...], most: int) -> tuple[list[Row], int]:
    """The first rows of a JSON document, and how many there are beside them."""
    masks = [paths.read(path.removeprefix("args")) for path in masked]
    value = _read(text)
    kind, _ = _written(value)
    if (count := _count(value)) > MAX_ROWS:
        return [Row(WHOLE, kind, text)], 0
    try:
        rows = list(islice(_rows(value, "", (), masks, _Room()), most))
    except _TooLong:
        return [Row(WHOLE, kind, text)], 0
    return rows, count - len(rows)


def row_at(text: str, path: str) -> Row | None:
    """The row of what stands at a path as policies write them, whole; None where nothing does."""
    value = text
    for step in paths.read(path.removeprefix("args")):
        try:
            members = msgspec.json.decode(value, type=dict[str, msgspec.Raw])
        except msgspec.ValidationError:  # no object
            return None
        if step is EACH or step not in members:
            return None
        value = bytes(members[step]).decode()
    kind, plain = _written(_read(value))
    return Row(path, kind, value if kind in ("list", "object") else plain)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _read(text: str) -> Any:
    return json.loads(text, parse_int=_Number, parse_float=_Number)


class _TooLong(Exception):
    """The paths are too long for a table."""


class _Room:
    """What paths may take yet, in characters."""

    def __init__(self) -> None:
        self._left = MAX_PATHS

    def take(self, path: str) -> str:
        self._left -= len(path)
        if self._left < 0:
            raise _TooLong
        return path


def _count(value: Any) -> int:
    """How many rows a document would have, counted up to one more than there may be."""
    count, waiting = 0, [value]
    while waiting and count <= MAX_ROWS:
        one = waiting.pop()
        if one and isinstance(one, dict | list):
            waiting += one.values() if isinstance(one, dict) else one
        else:
            count += one is not value or value != {}
    return count


def _rows(value: Any, path: str, steps: Path, masks: list[Path], room: _Room) -> Iterator[Row]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            name = paths.shown("", (key,))
            below = room.take(path + name if path else name.removeprefix("."))
            yield from _rows(inner, below, (*steps, key), masks, room)
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from _rows(inner, room.take(f"{path}[{position}]"), (*steps, EACH), masks, room)
    elif steps or value != {}:
        kind, text = _written(value)
        is_masked = value == MASK and any(_hides(mask, steps) for mask in masks)
        yield Row(path, kind, text, is_masked)


def _hides(mask: Path, steps: Path) -> bool:
    """True where a mask leads to a value or through it: a value in the way is hidden as a whole."""
    return len(mask) >= len(steps) and all(_is_alike(*pair) for pair in zip(mask, steps, strict=False))


def _is_alike(one: str | None, other: str | None) -> bool:
    return one is other if one is None or other is None else folded(one) == folded(other)


def _written(value: Any) -> tuple[Kind, str]:
    match value:
        case _Number():
            return "number", str(value)
        case str():
            return "text", value
        case bool():
            return "truth", "true" if value else "false"
        case None:
            return "null", "null"
        case list():
            return "list", "[]"
        case _:
            return "object", "{}"
