"""Text from outside, made safe to show: of bounded length, without characters that fool a terminal or a reader."""

from __future__ import annotations

import json
import os
import re
import unicodedata

SHOWN_LENGTH = 128
"""Characters of a name from outside that are shown; the rest is cut and marked with `…`."""


def folded(key: str) -> str:
    """A key as a reader without regard to case takes it."""
    # Upper case first: some servers take a dotless i for a small I, and a dotted I for an i.
    return key.casefold() if key.isascii() else key.replace("\u0130", "i").upper().casefold()


def is_plain(text: str) -> bool:
    """True if every character is visible or a blank: none is invisible, bidirectional or a control."""
    # By the characters that occur: a text of a megabyte has few.
    return (text.isascii() and text.isprintable()) or not any(map(_is_hidden, set(text)))


def is_odd_blank(char: str) -> bool:
    """True for a character that looks like a blank and is none to a program: `is_plain` takes it for visible."""
    return char == "\u2800" or (char != " " and unicodedata.category(char) == "Zs")


def visible(text: str) -> str:
    """The text with control, invisible and bidirectional characters written as JSON escapes (`\\u202e`)."""
    if text.isascii() and text.isprintable():
        return text
    return text.translate({ord(char): _escape(char) for char in set(text) if _is_hidden(char)})


def shown(name: str) -> str:
    """A name from outside, safe in a log line, a metric label or an error text."""
    if len(name) > SHOWN_LENGTH:
        return f"{visible(name[:SHOWN_LENGTH])}…"
    return name if name.isascii() and name.isprintable() else visible(name)


def quoted(name: str) -> str:
    """A name in double quotes, escaped as in a JSON string; letters beyond ASCII stay as they are."""
    return visible(json.dumps(name, ensure_ascii=False))


def shown_quoted(name: str) -> str:
    """The same, cut as `shown` cuts it; escaped once, so that the text says what the name is."""
    return quoted(name if len(name) <= SHOWN_LENGTH else f"{name[:SHOWN_LENGTH]}…")


def of_system(name: str) -> str:
    """A name from the system (an argument, a path) as text: read as UTF-8 whatever the locale, other bytes escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_hidden(char: str) -> bool:
    # C*: control, format (zero width, bidirectional), surrogate, private use, unassigned; Zl, Zp: line ends to some.
    category = unicodedata.category(char)
    return category[0] == "C" or category in ("Zl", "Zp") or _IGNORABLE.match(char) is not None


# Default_Ignorable_Code_Point (Unicode's DerivedCoreProperties) outside those categories: fillers, variation selectors.
_IGNORABLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")


def _escape(char: str) -> str:
    # json does not escape DEL.
    return "\\u007f" if char == "\x7f" else json.dumps(char)[1:-1]
