"""Writes values and texts as Rego, safely whatever they hold. Knows no policy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from sidecar.policy.model import Value
from sidecar.text import is_plain


def spellings(value: Value) -> list[Value]:
    """The values that are `eq` to `value`: itself, and the number or boolean written as text or the other way round."""
    match value:
        case bool():
            return [value, "true" if value else "false"]
        case Decimal():
            return [value, plain_number(value)]
        case "true" | "false":
            return [value, value == "true"]
        case str() if _PLAIN_NUMBER.fullmatch(value) and value != "-0":
            return [value, Decimal(value)]
        case _:
            return [value]


def readings(value: Value) -> list[Value]:
    """The spellings of a value, and the double that a server may read for its number, if that differs."""
    found = spellings(value)
    for number in [item for item in found if isinstance(item, Decimal)]:
        double = Decimal(repr(float(number)))
        if double.is_finite() and double != number:
            found.append(double)
    return found


def plain_number(number: Decimal) -> str:
    """The canonical text of a number: plain decimal, no exponent, no sign of zero, no trailing zeros."""
    if not number:
        return "0"
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


_PLAIN_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?")


def literal(value: Value) -> str:
    """A value as Rego; a number is written in full up to 40 characters."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case Decimal():
            text = plain_number(value)
            return text if len(text) <= 40 else _long_number(value)
        case str():
            return string(value)
        case tuple():
            return array(value)
        case Mapping():
            return "{" + ", ".join(f"{string(key)}: {literal(item)}" for key, item in value.items()) + "}"


def _long_number(number: Decimal) -> str:
    """Whole digits and an exponent: OPA would compare numbers with a dot and a final zero as doubles."""
    sign, digits, exponent = number.as_tuple()
    return f"{'-' if sign else ''}{''.join(map(str, digits))}E{exponent:+}"


def array(values: Iterable[Value]) -> str:
    """An array of values."""
    return "[" + ", ".join(map(literal, values)) + "]"


def string(text: str) -> str:
    """A string, with characters escaped that could fool a reader."""
    return json.dumps(text, ensure_ascii=not is_plain(text))


def raw_string(pattern: str) -> str:
    """A regular expression as a raw string, if it can be one."""
    raw = is_plain(pattern) and "`" not in pattern
    return f"`{pattern}`" if raw else string(pattern)


def step(name: str) -> str:
    """One step of a reference: `.name`, or `["na me"]`."""
    return f".{name}" if _DOTTED.fullmatch(name) else f"[{string(name)}]"


_DOTTED = re.compile(
    r"(?!(?:as|default|else|false|if|import|in|not|null|package|some|true|with|contains|every)\Z)[A-Za-z_][A-Za-z0-9_]*"
)


def defined(head: str, lines: Sequence[str]) -> str:
    """A rule that is true when all lines hold."""
    match lines:
        case []:
            return f"{head} := true\n"
        case [only] if "\n" not in only:
            return f"{head} if {only}\n"
        case body:
            return f"{head} if {{\n" + "".join(f"\t{part}\n" for line in body for part in line.split("\n")) + "}\n"


def comment(text: str) -> str:
    """Text for a comment, which it cannot end."""
    return text if is_plain(text) else json.dumps(text)[1:-1]


def code(text: str) -> str:
    """Rego without what its strings and comments say, in which any word may stand."""
    return _SAID.sub("", text)


_SAID = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`|#[^\n]*')
