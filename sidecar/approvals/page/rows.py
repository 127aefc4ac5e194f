"""A JSON document as rows of a table, one for each value in it: nothing is left out, and numbers stay as written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias

import msgspec

from sidecar.enforce.masking import MASK
from sidecar.policy import paths
from sidecar.policy.paths import EACH, Path
from sidecar.text import folded

LONG: Final = 400
"""Characters of a text that are shown at once; a longer one is folded."""

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
    masks = [paths.read(path.removeprefix("args")) for path in masked]
    return list(_rows(_read(text), "", (), masks))


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


def _rows(value: Any, path: str, steps: Path, masks: list[Path]) -> Iterator[Row]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            name = paths.shown("", (key,))
            yield from _rows(inner, path + name if path else name.removeprefix("."), (*steps, key), masks)
    elif isinstance(value, list) and value:
        for position, inner in enumerate(value):
            yield from _rows(inner, f"{path}[{position}]", (*steps, EACH), masks)
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
