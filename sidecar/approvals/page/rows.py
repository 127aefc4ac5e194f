"""A JSON document as the rows of a table, one for each value in it: nothing is left out, and numbers stay as written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

KIND_WORDS: Final = {
    "text": "text",
    "number": "number",
    "truth": "yes or no",
    "null": "null",
    "list": "list",
    "object": "object",
}
LONG: Final = 400
"""Characters of a text that are shown at once; a longer one is folded."""


class Row(msgspec.Struct, frozen=True):
    """One value: where it stands (`a.b[0]`), what kind it is (a key of `KIND_WORDS`), and how it is written.

    A text stands without its quotes. `masked` where the policy keeps the value from who approves.
    """

    path: str
    kind: str
    text: str
    masked: bool = False

    @property
    def is_long(self) -> bool:
        """True for a value that is folded."""
        return len(self.text) > LONG


def rows_of(text: str, masked: tuple[str, ...] = ()) -> list[Row]:
    """The rows of a JSON document; `masked` are paths as policies write them (`args.a.b`)."""
    hidden = frozenset(masked)
    document = json.loads(text, parse_int=_Number, parse_float=_Number)
    return list(_rows(document, "", "args", hidden))


def row_at(text: str, path: str) -> Row | None:
    """The row of what stands at a path as policies write them (`args.a.b`), whole; None where nothing does."""
    value: msgspec.Raw | None = msgspec.Raw(text.encode())
    for step in path.split(".")[1:]:
        try:
            value = msgspec.json.decode(value or b"", type=dict[str, msgspec.Raw]).get(step)
        except msgspec.ValidationError:  # no object
            value = None
        if value is None:
            return None
    written = bytes(value or b"").decode()
    kind, plain = _written(json.loads(written, parse_int=_Number, parse_float=_Number))
    return Row(path, kind, written if kind in ("list", "object") else plain)


class _Number(str):
    """A number as it was written."""

    __slots__ = ()


def _rows(value: Any, path: str, policy_path: str, hidden: frozenset[str]) -> Iterator[Row]:
    is_masked = policy_path in hidden
    match value:
        case dict() if value and not is_masked:
            for key, inner in value.items():
                yield from _rows(inner, _member(path, key), f"{policy_path}.{key}", hidden)
        case list() if value and not is_masked:
            for position, inner in enumerate(value):
                yield from _rows(inner, f"{path}[{position}]", f"{policy_path}[{position}]", hidden)
        case _ if path or is_masked or value != {}:
            kind, text = _written(value)
            yield Row(path or "(everything)", kind, text, is_masked)


def _member(path: str, key: str) -> str:
    """A key behind a path; one that could be taken for more than a key stands in quotes."""
    if _PLAIN.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


_PLAIN = re.compile(r"[^\W\d][\w-]*")


def _written(value: Any) -> tuple[str, str]:
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
            return "list", json.dumps(value, ensure_ascii=False)
        case _:
            return "object", json.dumps(value, ensure_ascii=False)
